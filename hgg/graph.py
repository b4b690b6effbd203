"""The keypoint graph: candidates are nodes, pairs of different types are edges (section 3.1, Fig. 4a).

Which nodes an edge joins is a matrix of an image's nodes, so that nobody has to wait for a number of edges:
on a GPU each such number stops the queue of its work. One look gives the sizes that the host needs.

Letters: B images, N candidates, A candidates of the batch, V visual channels, J joint types, M macro-nodes,
E edges, T views.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hgg.candidates import Candidates
from hgg.constants import constant
from hgg.skeleton import COCO, GraphName, Skeleton, graph_links

NEVER = 2.0**16  # outweighs all links of a pair, of which there are J² at most
# Pairs whose features are computed together. A CPU's cache holds 4,096 pairs of 64 features (1 MB); all of a
# crowd's take it twice as long. A GPU wants as many as its memory has room for (here 0.5 GB).
PAIRS_AT_ONCE, PAIRS_ON_GPU = 2**12, 2**21


class Graph(NamedTuple):
    """The edges among the candidates of each image."""

    joined: Tensor
    """(B, N, N) bool, symmetric; false in padding."""
    silence: Tensor
    """(B, N, N, 1) float32, 0 for an edge and -inf elsewhere: what a message has on top."""
    edges: int
    """Edges of the whole batch, each once."""
    sizes: list[int]
    """Candidates of each image."""
    rows: Tensor
    """(A,) int64 rows of the candidates, image * N + candidate, those of padding left out."""


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
        kind_BN = constant(skeleton.flip_index, kind_BN.device)[kind_BN]
        last_B1 = candidates.size[:, :1].to(xy_BN2.dtype) - 1
        xy_BN2 = torch.stack((last_B1 - xy_BN2[..., 0], xy_BN2[..., 1]), dim=-1)
    kind_BNJ = one_hot(kind_BN, skeleton.count, candidates.tag.dtype)
    side_B11 = candidates.size.amax(dim=1)[:, None, None]
    features = [candidates.tag[..., view, None], candidates.visual[:, :, view], kind_BNJ, xy_BN2 / side_B11]
    return torch.cat([*features, candidates.score[..., None]] if score else features, dim=-1)


def one_hot(kind_BN: Tensor, joint_types: int, dtype: torch.dtype) -> Tensor:
    """(B, N, J); torch's own looks for types that are out of range, and waits for the answer."""
    return torch.eye(joint_types, dtype=dtype, device=kind_BN.device)[kind_BN]


def link_rule(graph: GraphName, skeleton: Skeleton = COCO) -> Tensor:
    """What a graph of Fig. 4a joins: 1 for two types that it does, `-NEVER` for a type with itself, else 0.

    (J, J) float32, symmetric.
    """
    rule_JJ = -NEVER * torch.eye(skeleton.count)
    for a, b in graph_links(graph, skeleton):
        rule_JJ[a, b] = rule_JJ[b, a] = 1.0
    return rule_JJ


def compatible(types_BMJ: Tensor, linked_BMJ: Tensor) -> Tensor:
    """Whether an edge joins two macro-nodes: some of their types are linked, and they share none.

    This is all that pruning leaves of a graph (Algorithm 1): an edge between two members goes when their
    macro-nodes share a type, and macro-nodes only grow.

    Args:
        types_BMJ: 1 for the types of a macro-node's members, all 0 where there is none.
        linked_BMJ: those times `link_rule`.

    Returns:
        (B, M, M) bool, symmetric.
    """
    return torch.bmm(types_BMJ, linked_BMJ.mT) > 0


def keypoint_graph(candidates: Candidates, rule_JJ: Tensor) -> Graph:
    """Edges between all valid candidates of one image whose types are linked."""
    types_BNJ = one_hot(candidates.kind, len(rule_JJ), rule_JJ.dtype) * candidates.valid[..., None]
    joined_BNN = compatible(types_BNJ, types_BNJ @ rule_JJ)
    both, *sizes = torch.cat((joined_BNN.sum()[None], candidates.valid.sum(dim=1))).tolist()
    silence_BNN1 = silence_of(joined_BNN, rule_JJ.dtype)
    return Graph(joined_BNN, silence_BNN1, both // 2, sizes, rows_of(candidates.valid, sizes))


def silence_of(joined_BNN: Tensor, dtype: torch.dtype) -> Tensor:
    """`Graph.silence` of the edges."""
    nothing_BNN = torch.zeros((), dtype=dtype, device=joined_BNN.device).expand_as(joined_BNN)
    return nothing_BNN.masked_fill(~joined_BNN, -torch.inf)[..., None]


def rows_of(valid_BN: Tensor, sizes: Sequence[int]) -> Tensor:
    """`Graph.rows` of the candidates that are no padding."""
    if not any(sizes):
        return torch.empty(0, dtype=torch.int64, device=valid_BN.device)
    return valid_BN.flatten().nonzero_static(size=sum(sizes)).squeeze(1)


def list_pairs(joined_BMM: Tensor, edges: int) -> tuple[Tensor, Tensor, Tensor]:
    """The edges of a matrix that holds so many, each once.

    Returns:
        Image, smaller and larger row of each, (E,) int64, in ascending order.
    """
    if edges == 0:
        nothing_E = torch.empty(0, dtype=torch.int64, device=joined_BMM.device)
        return nothing_E, nothing_E, nothing_E
    # Told the number, it has nothing to ask the device for.
    image_E, first_E, second_E = joined_BMM.triu(diagonal=1).nonzero_static(size=edges).unbind(dim=1)
    return image_E, first_E, second_E


def pairs_at_once(device: torch.device) -> int:
    """How many pairs' features this device should hold at a time."""
    return PAIRS_ON_GPU if device.type == "cuda" else PAIRS_AT_ONCE


def parts(sizes: Sequence[int], at_once: int) -> Iterator[tuple[slice, slice, slice]]:
    """Matrices of pairs, cut into parts of about so many: images, rows and columns of each.

    Several whole images make a part where they fit; else rows of one image do. What no image of a part needs,
    as all of it is padding, is in none.
    """
    most = max(sizes, default=0)
    together = max(1, at_once // max(1, most * most))
    for start in range(0, len(sizes), together):
        images = slice(start, min(start + together, len(sizes)))
        width = max(sizes[images])
        rows = max(1, at_once // max(1, width * (images.stop - start)))
        for row in range(0, width, rows):
            yield images, slice(row, min(row + rows, width)), slice(0, width)
