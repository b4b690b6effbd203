"""Keypoint candidates: the peaks of the heatmaps, which become the nodes of the graph (section 3.1).

Decoding is associative embedding's: non-maximum suppression by max-pooling, the highest
peaks of each type above a threshold. Positions carry no gradient; tag and relational
feature are gathered at the peak's cell, so gradients reach the network through them.

At test time a photograph may also be shown mirrored. Its candidates are then found once, in
the averaged heatmaps, but tags and relational features of two views are not comparable: each
candidate keeps one of either a view. View 0 is the photograph as it is, view 1 its mirror image.

Letters: B images, J joint types, S output side in cells (maps may also be higher than wide or
wider than high), V visual channels, N candidates, T views, R joint types times candidates per type.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.config import CandidateConfig
from hgg.constants import constant

TINY = 1e-6  # below any heatmap value that matters; keeps the logarithm finite


class Candidates(NamedTuple):
    """Candidates of a batch, the highest score first, padded to the largest image (at least one row)."""

    cell: Tensor
    """(B, N, 2) int64 x, y of the peak's cell."""
    xy: Tensor
    """(B, N, 2) float32 x, y in cells, with the position inside the cell."""
    kind: Tensor
    """(B, N) int64 joint type in [0, J)."""
    score: Tensor
    """(B, N) float32 heatmap value at the peak; 0 in padding."""
    tag: Tensor
    """(B, N, T) float32 tag at the peak, of each view."""
    visual: Tensor
    """(B, N, T, V) float32 relational feature at the peak, of each view."""
    valid: Tensor
    """(B, N) bool; false in padding."""
    size: Tensor
    """(B, 2) int64 width and height of the image's map in cells."""


def find_candidates(
    heatmaps_BJSS: Tensor,
    tags_BJSS: Tensor,
    visual_BVSS: Tensor,
    config: CandidateConfig,
    limit: int | None = None,
) -> Candidates:
    """Find the candidates of a batch.

    Args:
        heatmaps_BJSS: last stack's heatmaps.
        tags_BJSS: last stack's tag maps.
        visual_BVSS: relational feature map.
        config: window, threshold and numbers.
        limit: candidates kept per image, the highest first; None keeps all.

    Returns:
        Candidates of one view; an image without any has only padding.
    """
    with torch.no_grad():
        peaks = _highest_peaks(heatmaps_BJSS.detach(), config, limit)
        offset_BN2 = subcell_offset(heatmaps_BJSS.detach(), *peaks[:2], config.subcell)
    height, width = heatmaps_BJSS.shape[-2:]
    size_2 = constant([width, height], heatmaps_BJSS.device)
    return _described(peaks, offset_BN2, size_2, tags_BJSS, visual_BVSS)


def fixed_candidates(
    heatmaps_BJSS: Tensor, tags_BJSS: Tensor, visual_BVSS: Tensor, config: CandidateConfig, number: int
) -> tuple[Tensor, Candidates]:
    """The same, padded to or cut after a number of candidates that is known beforehand; without gradients.

    Args:
        heatmaps_BJSS: maps as in `find_candidates`, of at least `per_type` cells.
        tags_BJSS: beside them.
        visual_BVSS: beside them.
        config: window, threshold and numbers.
        number: N, the highest stay.

    Returns:
        How many there were in each image, (B,) int64, and the first of them.
    """
    score_BR, order_BR, cell_BJk = _ranked_peaks(heatmaps_BJSS, config)
    found_B, missing = (score_BR > 0).sum(dim=1), max(0, number - score_BR.shape[1])
    score_BN, order_BN = (F.pad(part, (0, missing))[:, :number] for part in (score_BR, order_BR))
    height, width = _sides(heatmaps_BJSS)
    size_2 = torch.stack([torch.as_tensor(side) for side in (width, height)]).to(heatmaps_BJSS.device)
    peaks = _first_peaks(score_BN, order_BN, cell_BJk, width)
    offset_BN2 = subcell_offset(heatmaps_BJSS, *peaks[:2], config.subcell)
    return found_B, _described(peaks, offset_BN2, size_2, tags_BJSS, visual_BVSS)


def _described(
    peaks: tuple[Tensor, Tensor, Tensor],
    offset_BN2: Tensor,
    size_2: Tensor,
    tags_BJSS: Tensor,
    visual_BVSS: Tensor,
) -> Candidates:
    """Peaks by type, cell and score as candidates of one view; the maps are of this width and height."""
    kind_BN, cell_BN2, score_BN = peaks
    tag_BN, visual_BNV = _read(tags_BJSS, visual_BVSS, kind_BN, cell_BN2)
    return Candidates(
        cell=cell_BN2,
        xy=cell_BN2 + offset_BN2,
        kind=kind_BN,
        score=score_BN,
        tag=tag_BN[..., None],
        visual=visual_BNV[:, :, None],
        valid=score_BN > 0,
        size=size_2.expand(kind_BN.shape[0], 2),
    )


def with_view(candidates: Candidates, tags_BJSS: Tensor, visual_BVSS: Tensor) -> Candidates:
    """The candidates with tag and relational feature of one more view.

    Args:
        candidates: of the views before.
        tags_BJSS: the view's tag maps, brought back to the photograph as it is.
        visual_BVSS: the view's relational feature map, likewise.
    """
    tag_BN, visual_BNV = _read(tags_BJSS, visual_BVSS, candidates.kind, candidates.cell)
    return candidates._replace(
        tag=torch.cat((candidates.tag, tag_BN[..., None]), dim=-1),
        visual=torch.cat((candidates.visual, visual_BNV[:, :, None]), dim=2),
    )


def _read(tags_BJSS: Tensor, visual_BVSS: Tensor, kind_BN: Tensor, cell_BN2: Tensor) -> tuple[Tensor, Tensor]:
    """Tag (B, N) and relational feature (B, N, V) at the peaks' cells."""
    height, width = _sides(tags_BJSS)
    cell_BN = cell_BN2[..., 1] * width + cell_BN2[..., 0]
    tag_BN = tags_BJSS.flatten(1).gather(1, kind_BN * height * width + cell_BN)
    flat_BVA = visual_BVSS.flatten(2)
    visual_BVN = flat_BVA.gather(2, cell_BN[:, None].expand(-1, flat_BVA.shape[1], -1))
    return tag_BN, visual_BVN.transpose(1, 2)


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """The batches one after the other as one, padded to the largest image; they have equally many views."""
    most = max(part.kind.shape[1] for part in parts)
    joined = []
    for name, values in zip(Candidates._fields, zip(*parts, strict=True), strict=True):
        padded = values if name == "size" else [_lengthened(value, most) for value in values]
        joined.append(torch.cat(padded))
    return Candidates(*joined)


def _lengthened(value_BN: Tensor, most: int) -> Tensor:
    """(B, N, ...) with zeros added up to (B, most, ...)."""
    missing = value_BN.new_zeros(len(value_BN), most - value_BN.shape[1], *value_BN.shape[2:])
    return torch.cat((value_BN, missing), dim=1)


def _highest_peaks(
    heatmaps_BJSS: Tensor, config: CandidateConfig, limit: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Type, cell and score of the peaks, the highest first, score 0 in padding."""
    score_BR, order_BR, cell_BJk = _ranked_peaks(heatmaps_BJSS, config)
    found = int((score_BR > 0).sum(dim=1).max()) if len(score_BR) else 0
    keep = max(1, found if limit is None else min(found, limit))
    return _first_peaks(score_BR[:, :keep], order_BR[:, :keep], cell_BJk, heatmaps_BJSS.shape[-1])


def _ranked_peaks(heatmaps_BJSS: Tensor, config: CandidateConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of the peaks, the highest first and 0 where there is none; of which of the cells beside them."""
    height, width = heatmaps_BJSS.shape[-2:]
    peaks_BJSS = heatmaps_BJSS * (_is_peak(heatmaps_BJSS, config.window) & (heatmaps_BJSS > config.threshold))
    per_type = min(config.per_type, height * width)
    score_BJk, cell_BJk = peaks_BJSS.flatten(2).topk(per_type, dim=2)
    score_BR, order_BR = score_BJk.flatten(1).sort(dim=1, descending=True, stable=True)
    return score_BR, order_BR, cell_BJk


def _first_peaks(
    score_BN: Tensor, order_BN: Tensor, cell_BJk: Tensor, width: int | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Type, cell and score of some ranked peaks."""
    cell_BN = cell_BJk.flatten(1).gather(1, order_BN)
    cell_BN2 = torch.stack((cell_BN % width, cell_BN // width), dim=-1)
    return order_BN // cell_BJk.shape[2], cell_BN2, score_BN


def _is_peak(heatmaps_BJSS: Tensor, window: int) -> Tensor:
    """Whether a cell is the highest of the window around it; on a plateau only the first, row by row, is.

    By maxima of shifted maps: on a CPU they take a tenth of the time of `max_pool2d`.
    """
    reach = window // 2
    if reach == 0:
        return torch.ones_like(heatmaps_BJSS, dtype=torch.bool)
    height, width = heatmaps_BJSS.shape[-2:]
    padded = F.pad(heatmaps_BJSS, (reach, reach, reach, reach), value=-torch.inf)
    run = _highest_of_next(padded, reach, dim=-1)
    left, right = run[..., :width], run[..., reach + 1 :]
    row = torch.maximum(torch.maximum(left, right), padded[..., reach : reach + width])
    rows = _highest_of_next(row, reach, dim=-2)
    above, below = rows[..., :height, :], rows[..., reach + 1 :, :]
    own = slice(reach, reach + height)
    before, after = torch.maximum(above, left[..., own, :]), torch.maximum(below, right[..., own, :])
    return (heatmaps_BJSS > before) & (heatmaps_BJSS >= after)


def _highest_of_next(maps: Tensor, reach: int, dim: int) -> Tensor:
    """Maximum of every cell and those behind it, `reach` in all; the dimension gets shorter by reach - 1."""
    length = maps.shape[dim] - reach + 1
    return reduce(torch.maximum, (maps.narrow(dim, start, length) for start in range(reach)))


def subcell_offset(heatmaps_BJSS: Tensor, kind_BN: Tensor, cell_BN2: Tensor, mode: str) -> Tensor:
    """Offset in cells of a peak from its cell's centre, within half a cell either way.

    `gaussian` fits a parabola to the logarithms of the cell and its two neighbours per axis,
    which is exact for a Gaussian; `quarter` is AE's quarter cell toward the higher neighbour.
    At the border of the map the offset is 0.

    Shapes: (B, J, S, S), (B, N), (B, N, 2) -> (B, N, 2).
    """
    height, width = _sides(heatmaps_BJSS)
    flat_BA = heatmaps_BJSS.flatten(1)
    base_BN = kind_BN * height * width + cell_BN2[..., 1] * width + cell_BN2[..., 0]
    offsets = []
    for axis, side, step in ((0, width, 1), (1, height, width)):
        inside_BN = (cell_BN2[..., axis] > 0) & (cell_BN2[..., axis] < side - 1)
        reach_BN = inside_BN * step
        before, here, after = (flat_BA.gather(1, base_BN + s * reach_BN) for s in (-1, 0, 1))
        offsets.append(_peak_shift(before, here, after, mode))
    return torch.stack(offsets, dim=-1)


def _sides(maps: Tensor) -> tuple[int, int] | tuple[Tensor, Tensor]:
    """Height and width; where a graph is made that holds for any, as numbers of that graph.

    What is not known yet may be counted with as a shape, but ONNX's exporter multiplies no tensor by it.
    """
    height, width = maps.shape[-2:]
    if not torch.compiler.is_exporting():
        return height, width
    return torch.scalar_tensor(height, dtype=torch.int64), torch.scalar_tensor(width, dtype=torch.int64)


def _peak_shift(before: Tensor, here: Tensor, after: Tensor, mode: str) -> Tensor:
    """Where between three neighbouring cells the peak lies, in cells from the middle one."""
    if mode == "quarter":
        return 0.25 * torch.sign(after - before)
    low, middle, high = (value.clamp(min=TINY).log() for value in (before, here, after))
    curvature = (2 * middle - low - high).clamp(min=TINY)
    return (0.5 * (high - low) / curvature).clamp(-0.5, 0.5)
