"""What the network is trained towards: Gaussian heatmaps around people's joints (AE, section 3.2).

Shapes: B images, P people (padded), J joint types, S side of the output maps in cells.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # preprocessing encodes heatmaps in processes that have no other need of torch
    import torch


class Targets(NamedTuple):
    """Targets of a batch. P is the largest number of people in the batch and may be 0.

    Attributes:
        heatmaps: (B, J, S, S) float32 in [0, 1].
        mask: (B, S, S) float32; 1 where the heatmaps are supervised, 0 in ignore regions and
            outside the photograph.
        joints: (B, P, J, 3) float32; x, y in cells and a flag: 1 labelled and inside the map, else 0.
        areas: (B, P) float32 in cells squared; 0 for padding.
    """

    heatmaps: "torch.Tensor"
    mask: "torch.Tensor"
    joints: "torch.Tensor"
    areas: "torch.Tensor"


def encode_heatmaps(joints: np.ndarray, output_size: int, sigma: float) -> np.ndarray:
    """Draw a Gaussian of height 1 around every labelled joint; people overlap by their maximum.

    The peak stands at the joint's sub-cell position, where AE rounds it down to a cell: the
    rounding alone costs up to four input pixels.

    Args:
        joints: (P, J, 3); x, y in cells and a flag, above 0 where labelled.
        output_size: S, side of the maps in cells.
        sigma: standard deviation in cells (AE: S / 64).

    Returns: (J, S, S) float32 in [0, 1].
    """
    cells = np.arange(output_size, dtype=np.float32)
    offsets = cells - np.asarray(joints[..., :2], np.float32)[..., None]  # (P, J, 2, S)
    bells = np.exp(offsets**2 / np.float32(-2 * sigma**2))
    bells *= (joints[..., 2] > 0)[..., None, None]
    heatmaps = np.zeros((joints.shape[1], output_size, output_size), np.float32)
    for columns, rows in zip(bells[:, :, 0], bells[:, :, 1], strict=True):
        np.maximum(heatmaps, rows[:, :, None] * columns[:, None, :], out=heatmaps)
    return heatmaps
