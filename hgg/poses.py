"""From clusters of candidates to people: joints, scores, missing joints (AE, section 3.3).

Letters: B images, J joint types, S output side in cells (maps need not be square), N candidates,
T views, P people of one image (padded), M missing joints of the batch, m some of them, Q places in a list.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgg.candidates import Candidates, subcell_offset
from hgg.clusters import Clusters
from hgg.graph import one_hot

LEAST = float(np.float32(1e-6))  # value of a filled joint that is not believed
MIN_SCORE = 0.05  # of people to show, as `predict.min_score`
CELLS_AT_ONCE, CELLS_AT_ONCE_GPU = 2**20, 2**27  # of the maps that missing joints are looked for in


class Poses(NamedTuple):
    """The people of one image, the highest score first."""

    keypoints: np.ndarray
    """(P, J, 3) float32; x, y and the heatmap's value there, all 0 where the joint is missing.

    A filled joint whose tag is another person's by AE's measure has a value next to 0: a place for want of
    a better one, which is scored but not to be drawn.
    """
    score: np.ndarray
    """(P,) float32; mean of the J heatmap values, missing joints 0, times the grouping's confidence."""
    first: np.ndarray | None = None
    """(P,) int64; the candidate that the person's cluster is named by (`Clusters.member`); None where people
    did not come of clusters."""

    def only(self, keep_P: np.ndarray) -> "Poses":
        """Those of them."""
        first = None if self.first is None else self.first[keep_P]
        return Poses(self.keypoints[keep_P], self.score[keep_P], first)


def box_sides(xy_PJ2: np.ndarray, there_PJ: np.ndarray) -> np.ndarray:
    """Width and height of the box around each person's joints that are there, (P, 2); 0 without any."""
    low_P2 = np.where(there_PJ[..., None], xy_PJ2, np.inf).min(axis=1, initial=np.inf)
    high_P2 = np.where(there_PJ[..., None], xy_PJ2, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(low_P2), high_P2 - low_P2, 0.0)


def likely(poses: Poses, min_score: float) -> Poses:
    """An image's people whose score is not below `min_score`."""
    return poses.only(poses.score >= min_score)


@torch.no_grad()
def to_poses(
    candidates: Candidates,
    clusters: Clusters,
    heatmaps: Sequence[Tensor] | Tensor,
    tags: Sequence[Tensor] | Tensor,
    *,
    fill_missing: bool,
    subcell: str = "gaussian",
) -> list[Poses]:
    """People of every image of a batch, in cells.

    A person's score is taken before missing joints are filled, as AE does, so that filling
    moves no ranks.

    Args:
        candidates: of the batch.
        clusters: which candidates form one person; no type twice in a person.
        heatmaps: the maps (J, S, S) that each image's candidates came from.
        tags: the tag maps (T, J, S, S) beside them, of each view.
        fill_missing: whether joints without a candidate are looked for in the maps.
        subcell: `CandidateConfig.subcell`; filled joints get the same position inside the cell.
    """
    alike: dict[torch.Size, list[int]] = {}
    for image, heatmaps_JSS in enumerate(heatmaps):
        alike.setdefault(heatmaps_JSS.shape, []).append(image)
    found: dict[int, Poses] = {}
    for images in alike.values():
        whole = len(alike) == 1  # and then there is nothing to choose from
        poses = _batch_poses(
            candidates if whole else Candidates(*(part[images] for part in candidates)),
            clusters if whole else Clusters(*(part[images] for part in clusters)),
            torch.stack([heatmaps[image] for image in images]).float(),
            torch.stack([tags[image] for image in images]).float(),
            subcell if fill_missing else None,
        )
        found |= zip(images, poses, strict=True)
    return [found[image] for image in range(len(heatmaps))]


def _batch_poses(
    candidates: Candidates,
    clusters: Clusters,
    heatmaps_BJSS: Tensor,
    tags_BTJSS: Tensor,
    subcell: str | None,
) -> list[Poses]:
    """People of images whose maps are equally large; `subcell` None does not fill."""
    member_BN, kind_BN, joints = clusters.member, candidates.kind, heatmaps_BJSS.shape[1]
    first_BN = member_BN == torch.arange(member_BN.shape[1], device=member_BN.device)
    people_B = first_BN.sum(dim=1)
    found_BNJ = one_hot(kind_BN, joints, torch.float32) * (member_BN >= 0)[..., None]
    gaps_BJ = people_B[:, None] - found_BNJ.sum(dim=1).long()
    told = torch.cat((people_B, gaps_BJ.flatten())).tolist()
    most, gaps = max(told[: len(people_B)]), told[len(people_B) :]
    # Candidates left out go to a person behind the last.
    image_B1 = torch.arange(len(member_BN), device=member_BN.device)[:, None]
    person_BN = (
        (first_BN.cumsum(dim=1) - 1).gather(1, member_BN.clamp(min=0)).masked_fill(member_BN < 0, most)
    )
    seen = torch.cat((candidates.xy, candidates.score[..., None], candidates.tag), dim=-1).float()
    table = seen.new_zeros(len(member_BN), most + 1, joints, seen.shape[-1])
    table[image_B1, person_BN, kind_BN] = seen
    keypoints_BPJ3, tag_BPJT = table[:, :most].split((3, seen.shape[-1] - 3), dim=-1)
    confidence_BQ = seen.new_ones(len(member_BN), most + 1)
    named_BN = person_BN.masked_fill(~first_BN, most)
    confidence_BQ[image_B1, named_BN] = clusters.confidence.float()
    first_BQ = torch.zeros_like(confidence_BQ)
    first_BQ[image_B1, named_BN] = torch.arange(member_BN.shape[1], device=member_BN.device).to(first_BQ)
    score_BP = keypoints_BPJ3[..., 2].mean(dim=2) * confidence_BQ[:, :most]
    there_BP = torch.arange(most, device=member_BN.device) < people_B[:, None]
    if subcell is not None and any(gaps):
        mean_tag_BPT = tag_BPJT.sum(dim=2) / (keypoints_BPJ3[..., 2] > 0).sum(dim=2)[..., None]
        gap_BJP = ((keypoints_BPJ3[..., 2] == 0) & there_BP[..., None]).transpose(1, 2)
        filled_BPJ3 = _filled(gap_BJP, gaps, mean_tag_BPT, heatmaps_BJSS, tags_BTJSS, subcell)
        keypoints_BPJ3 = torch.where(gap_BJP.transpose(1, 2)[..., None], filled_BPJ3, keypoints_BPJ3)
    parts = (first_BQ[:, :most], score_BP, there_BP)
    told = torch.cat((keypoints_BPJ3.flatten(2), *(part_BP[..., None] for part_BP in parts)), dim=-1)
    return [_sorted(image_PQ, joints) for image_PQ in told.cpu().numpy()]


def _sorted(told_PQ: np.ndarray, joints: int) -> Poses:
    """One image's people from what was copied: keypoints, first candidate, score, whether they are there."""
    told_PQ = told_PQ[told_PQ[:, -1] > 0]
    told_PQ = told_PQ[np.argsort(-told_PQ[:, -2], kind="stable")]
    return Poses(told_PQ[:, :-3].reshape(-1, joints, 3), told_PQ[:, -2], told_PQ[:, -3].astype(np.int64))


def _filled(
    gap_BJP: Tensor,
    gaps: list[int],
    mean_tag_BPT: Tensor,
    heatmaps_BJSS: Tensor,
    tags_BTJSS: Tensor,
    subcell: str,
) -> Tensor:
    """Keypoints (B, P, J, 3) of the missing joints: AE's argmax of heatmap less rounded tag distance.

    The value is the heatmap's there less the rounded tag distance, at least `LEAST`. A joint whose heatmap
    is not above 0 there stays missing.

    Args:
        gap_BJP: which joints are missing.
        gaps: how many people lack the joint of each map, image by image, type by type.
        mean_tag_BPT: people's mean tags.
        heatmaps_BJSS: in which they are looked for.
        tags_BTJSS: beside them.
        subcell: how a position inside a cell is found.
    """
    batch, joints, people = gap_BJP.shape
    maps_QSS, tags_QTSS = heatmaps_BJSS.flatten(0, 1), tags_BTJSS.transpose(1, 2).flatten(0, 1)
    # The people of each map who lack its joint first.
    order_QP = gap_BJP.flatten(0, 1).to(torch.int8).argsort(dim=1, descending=True, stable=True)
    mean_tag_QPT = mean_tag_BPT.repeat_interleave(joints, dim=0).gather(
        1, order_QP[..., None].expand(-1, -1, mean_tag_BPT.shape[2])
    )
    cell_QP2, value_QP = order_QP.new_zeros(*order_QP.shape, 2), maps_QSS.new_zeros(order_QP.shape)
    for maps, some in _gap_parts(gaps, maps_at_once(maps_QSS)):
        distance_qpSS = _tag_distance(tags_QTSS[maps, None], mean_tag_QPT[maps, some]).round_()
        apart_qpSS = torch.sub(maps_QSS[maps, None], distance_qpSS, out=distance_qpSS)
        cell_X2, value_X = _highest_cell(apart_qpSS.flatten(0, 1))
        cell_QP2[maps, some] = cell_X2.view(*apart_qpSS.shape[:2], 2)
        value_QP[maps, some] = value_X.view(apart_qpSS.shape[:2])
    map_QP = torch.arange(len(maps_QSS), device=maps_QSS.device)[:, None].expand_as(order_QP)
    offset_QP2 = subcell_offset(
        maps_QSS[None], map_QP.reshape(1, -1), cell_QP2.view(1, -1, 2), subcell
    ).view_as(cell_QP2)
    heat_QP = maps_QSS[map_QP, cell_QP2[..., 1], cell_QP2[..., 0]]
    filled_QP3 = torch.cat((cell_QP2 + offset_QP2, value_QP.clamp(min=LEAST)[..., None]), dim=-1)
    filled_QP3 = torch.where(heat_QP[..., None] > 0, filled_QP3, 0.0)
    place_QP3 = order_QP[..., None].expand_as(filled_QP3)
    sorted_QP3 = torch.empty_like(filled_QP3).scatter_(1, place_QP3, filled_QP3)
    return sorted_QP3.view(batch, joints, people, 3).transpose(1, 2)


def _gap_parts(gaps: Sequence[int], at_once: int) -> Iterator[tuple[slice, slice]]:
    """Which maps, and which of the people who lack their joint, are looked at together: about so many.

    Of maps that come together, those that fewer people lack are looked at for nobody: only a few come so.
    """
    together = max(1, at_once // (4 * max(1, *gaps)))
    for start in range(0, len(gaps), together):
        maps = slice(start, min(start + together, len(gaps)))
        most, step = max(gaps[maps]), max(1, at_once // (maps.stop - start))
        for some in range(0, most, step):
            yield maps, slice(some, min(some + step, most))


def maps_at_once(maps_QSS: Tensor) -> int:
    """How many maps a device should look through at a time: what its cache holds, or half a GB on a GPU."""
    return max(1, (CELLS_AT_ONCE_GPU if maps_QSS.is_cuda else CELLS_AT_ONCE) // maps_QSS[0].numel())


def _tag_distance(tag_MTSS: Tensor, mean_tag_MT: Tensor) -> Tensor:
    """Distance of every cell's tag from people's mean tags, as `hgg.associative` measures it.

    One view at a time keeps the largest array small. Shapes: (..., T, S, S), (..., T) -> (..., S, S); the
    leading ones may be broadcast.
    """
    views = tag_MTSS.shape[-3]
    apart = (tag_MTSS[..., view, :, :] - mean_tag_MT[..., view, None, None] for view in range(views))
    if views == 1:
        return next(apart).abs_()
    squares = [apart_MSS.square_() for apart_MSS in apart]
    return sum(squares[1:], squares[0]).div_(views).sqrt_()


def _highest_cell(maps_MSS: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (M, 2) and value (M,) of the highest cell of each map; of equal ones the first, row by row.

    The highest row first: a maximum without its place takes a CPU a tenth of the time of one with it.
    """
    map_M = torch.arange(len(maps_MSS), device=maps_MSS.device)
    y_M = maps_MSS.amax(dim=2).argmax(dim=1)
    row_MS = maps_MSS[map_M, y_M]
    x_M = row_MS.argmax(dim=1)
    return torch.stack((x_M, y_M), dim=1), row_MS[map_M, x_M]
