"""Keypoint proposal network: stacked hourglass with tag maps (section 3.3; AE, section 3.1).

The topology is associative embedding's: plain 3x3 convolutions instead of residual
blocks, the skip branch and the low branch of a level added. Beside heatmaps and tags the
last stack gives a relational feature map, from which the graph takes its node features.

Letters: B images, J joint types, S output side in cells, C channels, V visual channels.
"""

import torch
from torch import Tensor, nn

from hgg.config import NetworkConfig
from hgg.maps import Maps, convolution, split_outputs
from hgg.skeleton import NUM_JOINTS


class Level(nn.Module):
    """One level of an hourglass: a skip branch beside the next level at half the resolution."""

    def __init__(self, channels: int, increase: int, depth: int, norm: str) -> None:
        super().__init__()
        wider = channels + increase
        self.skip = convolution(channels, channels, norm)
        self.down = nn.Sequential(nn.MaxPool2d(2), convolution(channels, wider, norm))
        self.inner = Level(wider, increase, depth - 1, norm) if depth > 1 else convolution(wider, wider, norm)
        # AE never normalises the way back up, so that levels add on an equal footing.
        self.up = nn.Sequential(convolution(wider, channels, "none"), nn.Upsample(scale_factor=2))

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Same shape out as in."""
        return self.skip(x_BCSS) + self.up(self.inner(self.down(x_BCSS)))


class Stack(nn.Module):
    """One hourglass with its output head, and the way into the next stack."""

    def __init__(self, config: NetworkConfig, joints: int, last: bool) -> None:
        super().__init__()
        channels, outputs = config.channels, 2 * joints
        self.features = nn.Sequential(
            Level(channels, config.increase, config.depth, config.norm),
            convolution(channels, channels, config.norm),
            convolution(channels, channels, config.norm),
        )
        self.head = nn.Conv2d(channels, outputs, 1)
        self.merge_features = None if last else nn.Conv2d(channels, channels, 1)
        self.merge_outputs = None if last else nn.Conv2d(outputs, channels, 1)

    def forward(self, x_BCSS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input of the next stack, features, and head output (B, 2J, S, S)."""
        features_BCSS = self.features(x_BCSS)
        output = self.head(features_BCSS)
        if self.merge_features is not None and self.merge_outputs is not None:
            x_BCSS = x_BCSS + self.merge_features(features_BCSS) + self.merge_outputs(output)
        return x_BCSS, features_BCSS, output


class Hourglass(nn.Module):
    """Stacked hourglass network.

    Args:
        config: widths, depth and number of stacks. The defaults are AE's released network
            (138.8 M parameters with 34 output channels and without the relational map).
        joints: J, how many joint types the maps have.

    Shapes:
        images (B, 3, H, W), float, RGB in [0, 1], H = W = `config.input_size` in training;
        any multiple of 4 * 2**depth otherwise. Returns `Maps` at a quarter of that.
    """

    def __init__(self, config: NetworkConfig, joints: int = NUM_JOINTS) -> None:
        super().__init__()
        self.config = config
        self.joints = joints
        c, norm = config.channels, config.norm
        # AE's stem is 64, 128, 128, 256 wide; narrower networks keep the proportions.
        self.stem = nn.Sequential(
            convolution(3, c // 4, norm, kernel=7, stride=2),
            convolution(c // 4, c // 2, norm),
            nn.MaxPool2d(2),
            convolution(c // 2, c // 2, norm),
            convolution(c // 2, c, norm),
        )
        self.stacks = nn.ModuleList(
            Stack(config, joints, last=k == config.stacks - 1) for k in range(config.stacks)
        )
        self.visual = nn.Conv2d(c, config.visual_dim, 3, padding=1) if config.visual_dim else None

    def forward(self, images_B3HW: Tensor) -> Maps:
        """Heatmaps and tags of every stack, and the last stack's relational feature map."""
        x_BCSS = self.stem(images_B3HW)
        outputs = []
        features_BCSS = x_BCSS
        for stack in self.stacks:
            x_BCSS, features_BCSS, output = stack(x_BCSS)
            outputs.append(output)
        visual_BVSS = None if self.visual is None else self.visual(features_BCSS)
        return split_outputs(torch.stack(outputs), self.joints, visual_BVSS)
