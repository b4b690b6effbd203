"""Keypoint proposal network of an encoder and a light decoder, in the place of the stacked hourglass.

The paper embeds its grouping into any bottom-up method (section 1); of the network it needs heatmaps, tags
and a relational feature map at a quarter of the input (section 3.3). The decoder is a feature pyramid's way
down (FPN, Lin et al. 2017, section 3): from the coarsest map on, upsampled, with each finer map added.

Letters: B images, J joint types, S output side in cells, C channels, V visual channels, D channels of a map.
"""

from typing import Any

import torch
from torch import Tensor, nn

from hgg.config import NUM_STRIDE, NetworkConfig
from hgg.encoders import build_encoder, colours_of, fields_of, stages_of
from hgg.maps import Maps, convolution, split_outputs
from hgg.skeleton import NUM_JOINTS


def _lateral(inputs: int, outputs: int, norm: str) -> nn.Module:
    """A map of an encoder in the decoder's channels; normalised where the encoder leaves that to others."""
    return nn.Conv2d(inputs, outputs, 1) if norm == "none" else convolution(inputs, outputs, norm, 1)[:-1]


class EncoderNetwork(nn.Module):
    """An encoder, a decoder to a quarter of the input, and the hourglass' heads.

    Args:
        config: `backbone` and `encoder` say which encoder, `channels` and `norm` how wide the decoder is and
            how it normalises, `frozen_stages` what is not trained.
        joints: J, how many joint types the maps have.

    Shapes:
        images (B, 3, H, W), float, RGB in [0, 1], H and W multiples of 32. Returns `Maps` of one stack at a
        quarter of that.

    Raises `ValueError`: no such encoder or setting of one, or a package that is missing.
    """

    def __init__(self, config: NetworkConfig, joints: int = NUM_JOINTS) -> None:
        super().__init__()
        self.config = config
        self.joints = joints
        channels, fields = config.channels, fields_of(config)
        self.stages = stages_of(config.backbone, fields, config.input_size)
        self.encoder: Any = build_encoder(config.backbone, fields, self.stages)
        mean, deviation = colours_of(config.backbone)
        self.mean_3: Tensor
        self.deviation_3: Tensor
        self.register_buffer("mean_3", torch.tensor(mean))
        self.register_buffer("deviation_3", torch.tensor(deviation))
        # From the coarsest map to the finest, as they are gone through.
        norm = config.norm if getattr(self.encoder, "linear_maps", False) else "none"
        self.laterals = nn.ModuleList(_lateral(d, channels, norm) for d in reversed(self.stages.channels))
        steps = (self.stages.strides[-1] // NUM_STRIDE).bit_length() - 1
        self.ways_down = nn.ModuleList(convolution(channels, channels, config.norm) for _ in range(steps))
        self.up = nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(channels, 2 * joints, 1)
        self.visual = nn.Conv2d(channels, config.visual_dim, 3, padding=1) if config.visual_dim else None
        frozen, stages = config.frozen_stages, self.stages.weights
        if frozen > len(stages):
            raise ValueError(
                f"network.frozen_stages={frozen}: backbone={config.backbone} has {len(stages)} stages"
            )
        self.frozen = stages[frozen - 1] if frozen else frozenset[str]()
        for name, parameter in self.encoder.named_parameters():
            # DDP would wait for gradients of what no map depends on.
            parameter.requires_grad_(name in stages[-1] and name not in self.frozen)

    def forward(self, images_B3HW: Tensor) -> Maps:
        """Heatmaps, tags and the relational feature map."""
        colours_B3HW = (images_B3HW - self.mean_3[:, None, None]) / self.deviation_3[:, None, None]
        maps = reversed(self.encoder(colours_B3HW).feature_maps)
        strides = self.stages.strides
        x_of = {
            s: lateral(each) for s, lateral, each in zip(reversed(strides), self.laterals, maps, strict=True)
        }
        stride = strides[-1]
        x_BCSS = x_of[stride]
        for way_down in self.ways_down:
            stride //= 2
            x_BCSS = self.up(x_BCSS)
            if stride in x_of:
                x_BCSS = x_BCSS + x_of[stride]
            x_BCSS = way_down(x_BCSS)
        visual_BVSS = None if self.visual is None else self.visual(x_BCSS)
        return split_outputs(self.head(x_BCSS)[None], self.joints, visual_BVSS)

    def train(self, mode: bool = True) -> "EncoderNetwork":
        """As of any module; what is frozen normalises by its own statistics and drops nothing."""
        super().train(mode)
        for name, module in self.encoder.named_modules():
            own = {f"{name}.{each}" if name else each for each, _ in module.named_parameters()}
            if own and own <= self.frozen:
                module.eval()
        return self
