"""What a keypoint proposal network gives, whichever it is (section 3.3), and what all of them are built of.

Letters: B images, K stacks, J joint types, S output side in cells, V visual channels.
"""

from typing import NamedTuple

from torch import Tensor, nn

NUM_GROUPS = 8  # of group normalisation; every width is a multiple


class Maps(NamedTuple):
    """Output of the network at a quarter of the input resolution."""

    heatmaps: Tensor
    """(K, B, J, S, S) keypoint heatmaps, about [0, 1]."""
    tags: Tensor
    """(K, B, J, S, S) one-dimensional associative-embedding tags."""
    visual: Tensor
    """(B, V, S, S) relational feature map of the last stack."""


def split_outputs(output_KBOSS: Tensor, joints: int, visual_BVSS: Tensor | None) -> Maps:
    """The heads' output, O = 2J channels of heatmaps and tags, as maps in float32 whatever autocast made.

    Args:
        output_KBOSS: of each stack.
        joints: J.
        visual_BVSS: relational features; None where the network has none (V = 0).
    """
    output_KBOSS = output_KBOSS.float()
    heatmaps_KBJSS, tags_KBJSS = output_KBOSS.split(joints, dim=2)
    if visual_BVSS is None:
        _, images, _, height, width = output_KBOSS.shape
        visual_BVSS = output_KBOSS.new_zeros(images, 0, height, width)
    return Maps(heatmaps_KBJSS, tags_KBJSS, visual_BVSS.float())


def convolution(inputs: int, outputs: int, norm: str, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation where asked for, ReLU: AE's only building block, and the decoder's."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=norm == "none")
    ]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(outputs))
    elif norm == "group":
        layers.append(nn.GroupNorm(NUM_GROUPS, outputs))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
