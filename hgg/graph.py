"""The keypoint graph: candidates are nodes, pairs of different types are edges (section 3.1, Fig. 4a).

Letters: B images, N candidates, V visual channels, J joint types, E edges, T views.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.candidates import Candidates
from hgg.skeleton import COCO, GraphName, Skeleton, graph_links

EDGES_AT_ONCE = 2048  # 64 features of each are half a MB; 512 to 4,096 take the same time within a fifth


def num_features(visual_dim: int, skeleton: Skeleton = COCO, *, score: bool = False) -> int:
    """Features of a node: tag, relational feature, one-hot type, x and y, and the score where asked for."""
    return 1 + visual_dim + skeleton.count + 2 + score


def node_features(
    candidates: Candidates, view: int = 0, skeleton: Skeleton = COCO, *, score: bool = False
) -> Tensor:
    """Features of the nodes: tag, relational feature, one-hot type, position (section 3.1).

    A node of view 1 is described as it looks in the mirrored photograph, where the network read its tag and
    relational feature: a left wrist is a right wrist there, at the place that its mirror image has. So the
    grouping of a photograph's two views is that of the mirrored photograph's with the views exchanged.

    Args:
        candidates: nodes; x and y are divided by the longer side of their image's map.
        view: which of the T views.
        skeleton: joint types.
        score: whether the heatmap's value is a feature too, the last one (`GroupingConfig.score_feature`).

    Returns:
        (B, N, 1 + V + J + 2) float32, one more with the score.
    """
    kind_BN, xy_BN2 = candidates.kind, candidates.xy
    if view == 1:
        kind_BN = torch.tensor(skeleton.flip_index, device=kind_BN.device)[kind_BN]
        last_B1 = candidates.size[:, :1].to(xy_BN2.dtype) - 1
        xy_BN2 = torch.stack((last_B1 - xy_BN2[..., 0], xy_BN2[..., 1]), dim=-1)
    kind_BNJ = F.one_hot(kind_BN, skeleton.count).to(candidates.tag.dtype)
    side_B11 = candidates.size.amax(dim=1)[:, None, None]
    features = [candidates.tag[..., view, None], candidates.visual[:, :, view], kind_BNJ, xy_BN2 / side_B11]
    return torch.cat([*features, candidates.score[..., None]] if score else features, dim=-1)


def both_ways(pairs_2E: Tensor) -> Tensor:
    """Directed edges (2, 2 E), from the neighbour j to the node i; ordered by i where gradients are wanted.

    Only the maximum that has a gradient needs the order; sorting takes a tenth of the inference of a crowd.
    """
    edges_2D = torch.cat((pairs_2E.flip(0), pairs_2E), dim=1)
    return edges_2D[:, edges_2D[1].argsort(stable=True)] if torch.is_grad_enabled() else edges_2D


def in_cache(edges_2E: Tensor) -> tuple[Tensor, ...]:
    """The edges in parts whose features a CPU's cache holds: all of a crowd's take it five times as long.

    One part where gradients are wanted, which need all features anyway, and on a GPU.
    """
    if torch.is_grad_enabled() or edges_2E.is_cuda:
        return (edges_2E,)
    return edges_2E.split(EDGES_AT_ONCE, dim=1)


def joined_types(graph: GraphName, skeleton: Skeleton = COCO) -> Tensor:
    """(J, J) bool, symmetric: which joint types a graph of Fig. 4a joins."""
    joined_JJ = torch.zeros(skeleton.count, skeleton.count, dtype=torch.bool)
    for a, b in graph_links(graph, skeleton):
        joined_JJ[a, b] = joined_JJ[b, a] = True
    return joined_JJ


def keypoint_graph(candidates: Candidates, joined_JJ: Tensor) -> Tensor:
    """Edges between all valid candidates of one image whose types are joined.

    Nodes carry one number over the whole batch, image * N + candidate, so that a batch is
    one graph of separate parts.

    Returns:
        (2, E) int64, each edge once, the smaller number first, in ascending order.
    """
    joined_BNN = joined_JJ[candidates.kind[:, :, None], candidates.kind[:, None, :]]
    edge_BNN = joined_BNN & candidates.valid[:, :, None] & candidates.valid[:, None, :]
    image_E, first_E, second_E = edge_BNN.triu(diagonal=1).nonzero(as_tuple=True)
    start_E = image_E * candidates.kind.shape[1]
    return torch.stack((start_E + first_E, start_E + second_E))
