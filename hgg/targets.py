"""What the network is trained towards: Gaussian heatmaps around people's joints (AE, section 3.2).

Shapes: B images, P people (padded), J joint types, S side of the output maps in cells, L labelled joints of
all people, W side of a joint's window in cells.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # preprocessing encodes heatmaps in processes that have no other need of torch
    import torch


LEAST = 0.5 / 255  # samples hold heatmaps as bytes, in which anything smaller is 0


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

    Returns: (J, S, S) float32 in [0, 1]; 0 where a Gaussian is below half of what a byte resolves.
    """
    reach = math.ceil(math.sqrt(-2 * math.log(LEAST)) * sigma)
    person, kind = (joints[..., 2] > 0).nonzero()
    place_L2 = np.asarray(joints[person, kind, :2], np.float32)
    cells_L2W = np.rint(place_L2).astype(np.int64)[..., None] + np.arange(-reach, reach + 1)
    offsets_L2W = cells_L2W.astype(np.float32) - place_L2[..., None]
    bells_L2W = np.exp(offsets_L2W**2 / np.float32(-2 * sigma**2))
    bells_L2W *= (cells_L2W >= 0) & (cells_L2W < output_size)
    x_LW, y_LW = (cells_L2W[:, axis].clip(0, output_size - 1) for axis in (0, 1))
    columns, rows = x_LW[:, None, :], y_LW[:, :, None]
    index_LWW = (kind[:, None, None] * output_size + rows) * output_size + columns
    heatmaps = np.zeros((joints.shape[1], output_size, output_size), np.float32)
    windows_LWW = bells_L2W[:, 1, :, None] * bells_L2W[:, 0, None, :]
    # All joints of all people at once, flat: NumPy is five times slower with an index of three dimensions.
    np.maximum.at(heatmaps.reshape(-1), index_LWW.ravel(), windows_LWW.ravel())
    return heatmaps
