"""From clusters of candidates to people: joints, scores, missing joints (AE, section 3.3).

Letters: B images, J joint types, S output side in cells (maps need not be square), N candidates,
T views, P people of one image, M missing joints of one image, m those of one type.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgg.candidates import Candidates, subcell_offset
from hgg.clusters import Clusters

LEAST = 1e-6  # value of a filled joint that is not believed


class Poses(NamedTuple):
    """The people of one image, the highest score first."""

    keypoints: np.ndarray
    """(P, J, 3) float32; x, y and the heatmap's value there, all 0 where the joint is missing.

    A filled joint whose tag is another person's by AE's measure has a value next to 0: a place for want of
    a better one, which is scored but not to be drawn.
    """
    score: np.ndarray
    """(P,) float32; mean of the J heatmap values, missing joints 0, times the grouping's confidence."""


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
    return [
        _image_poses(
            Candidates(*(part[image] for part in candidates)),
            Clusters(*(part[image] for part in clusters)),
            heatmaps[image].float(),
            tags[image].float(),
            subcell if fill_missing else None,
        )
        for image in range(len(candidates.kind))
    ]


def _image_poses(
    candidates: Candidates, clusters: Clusters, heatmaps_JSS: Tensor, tags_TJSS: Tensor, subcell: str | None
) -> Poses:
    """People of one image; `subcell` None does not fill."""
    index = (clusters.member >= 0).nonzero().flatten()
    ids, person = clusters.member[index].unique(return_inverse=True)
    kind = candidates.kind[index]
    keypoints_PJ3 = heatmaps_JSS.new_zeros(len(ids), len(heatmaps_JSS), 3)
    keypoints_PJ3[person, kind, :2] = candidates.xy[index].float()
    keypoints_PJ3[person, kind, 2] = candidates.score[index].float()
    score_P = keypoints_PJ3[..., 2].mean(dim=1) * clusters.confidence[ids]
    if subcell is not None and len(ids):
        tag_PJT = keypoints_PJ3.new_zeros(*keypoints_PJ3.shape[:2], len(tags_TJSS))
        tag_PJT[person, kind] = candidates.tag[index].float()
        mean_tag_PT = tag_PJT.sum(dim=1) / (keypoints_PJ3[..., 2] > 0).sum(dim=1)[:, None]
        _fill(keypoints_PJ3, mean_tag_PT, heatmaps_JSS, tags_TJSS, subcell)
    order = score_P.argsort(descending=True, stable=True)
    return Poses(keypoints_PJ3[order].cpu().numpy(), score_P[order].cpu().numpy())


def _fill(
    keypoints_PJ3: Tensor, mean_tag_PT: Tensor, heatmaps_JSS: Tensor, tags_TJSS: Tensor, subcell: str
) -> None:
    """Put each missing joint, in place, at AE's argmax of heatmap less rounded tag distance.

    Its value is the heatmap's there less the rounded tag distance, at least `LEAST`. A joint whose heatmap
    is not above 0 there stays missing.
    """
    kind_M, person_M = (keypoints_PJ3[..., 2] == 0).T.nonzero(as_tuple=True)
    cells, values = [], []
    # One joint type at a time keeps the largest array at P x S x S, however many people there are.
    for kind, missing in enumerate(person_M.split(kind_M.bincount(minlength=len(heatmaps_JSS)).tolist())):
        distance_mSS = _tag_distance(tags_TJSS[:, kind], mean_tag_PT[missing]).round_()
        cell_m2, value_m = _highest_cell(torch.sub(heatmaps_JSS[kind], distance_mSS, out=distance_mSS))
        cells.append(cell_m2)
        values.append(value_m)
    cell_M2, value_M = torch.cat(cells), torch.cat(values).clamp(min=LEAST)
    offset_M2 = subcell_offset(heatmaps_JSS[None], kind_M[None], cell_M2[None], subcell)[0]
    heat_M = heatmaps_JSS[kind_M, cell_M2[:, 1], cell_M2[:, 0]]
    filled_M3 = torch.cat((cell_M2 + offset_M2, value_M[:, None]), dim=1)
    keypoints_PJ3[person_M, kind_M] = torch.where(heat_M[:, None] > 0, filled_M3, 0.0)


def _tag_distance(tag_TSS: Tensor, mean_tag_MT: Tensor) -> Tensor:
    """Distance of every cell's tag from people's mean tags, as `hgg.associative` measures it: (M, S, S).

    One view at a time keeps the largest array at M x S x S.
    """
    apart = (tag_SS - mean_M[:, None, None] for tag_SS, mean_M in zip(tag_TSS, mean_tag_MT.T, strict=True))
    if len(tag_TSS) == 1:
        return next(apart).abs_()
    squares = [apart_MSS.square_() for apart_MSS in apart]
    return sum(squares[1:], squares[0]).div_(len(squares)).sqrt_()


def _highest_cell(maps_MSS: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (M, 2) and value (M,) of the highest cell of each map; of equal ones the first, row by row.

    The highest row first: a maximum without its place takes a CPU a tenth of the time of one with it.
    """
    map_M = torch.arange(len(maps_MSS), device=maps_MSS.device)
    y_M = maps_MSS.amax(dim=2).argmax(dim=1)
    row_MS = maps_MSS[map_M, y_M]
    x_M = row_MS.argmax(dim=1)
    return torch.stack((x_M, y_M), dim=1), row_MS[map_M, x_M]
