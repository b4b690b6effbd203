"""Matching: which pairs of macro-nodes merge in one round (section 3.1, graph clustering).

The paper merges "the most confident pairs". Locally dominant matching does exactly that:
an edge merges when it is the heaviest of both its ends, again and again until no edge is
left, which equals taking edges from the heaviest down. graclus, which the paper names,
visits nodes in random order instead and can pass over the heaviest edge.

Letters: G graphs, R rows and C columns of the weights of one, M nodes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GRACLUS_MISSING = (
    "grouping.matching=graclus needs torch-cluster: run `make graclus`, or use grouping.matching=dominant"
)
ALONE = -3e38  # weight of a node with itself: below that of every pair
# Passes between two looks at whether anything is left: a look costs a GPU more than a pass without a match.
PASSES, ASSIGNMENT_PASSES = 4, 2


class Matched(NamedTuple):
    """A matching, as far as it was taken."""

    into: Tensor
    """(G, M) int64 the smaller node of each node's pair; without a partner, itself."""
    left: Tensor
    """() int64 nodes that may still find one."""


def dominant_matching(weight_GMM: Tensor, into_GM: Tensor | None = None) -> Matched:
    """The first `PASSES` passes of locally dominant matching, or the next.

    In a pass every node chooses the heaviest of its pairs, and those who choose one another are matched. Of
    equal pairs that of the smallest node comes first, and then that of the smallest other one, as if pairs
    were taken one by one from the heaviest down.

    Args:
        weight_GMM: symmetric; the heavier, the earlier; -inf where there is no pair, `ALONE` on the diagonal.
            It is written over: nodes that are done cannot be chosen any more.
        into_GM: what the passes before matched.
    """
    own_M1 = torch.arange(weight_GMM.shape[1], device=weight_GMM.device)[:, None]
    nobody_GM1 = torch.zeros_like(weight_GMM[:, :, :1])
    matched = [] if into_GM is None else [into_GM[..., None]]
    for _ in range(PASSES):
        choice_GM1 = weight_GMM.argmax(dim=2, keepdim=True)
        done_GM1 = choice_GM1.gather(1, choice_GM1) == own_M1
        matched.append(torch.where(done_GM1, choice_GM1, own_M1))
        weight_GMM.add_(nobody_GM1.masked_fill(done_GM1, -torch.inf).mT)
    into_GM1 = torch.stack([own_M1.expand_as(nobody_GM1), *matched]).amin(dim=0)
    left = (weight_GMM.diagonal(dim1=1, dim2=2) >= ALONE).sum()
    return Matched(into_GM1.squeeze(2), left)


@torch.no_grad()
def dominant_assignment(weight_GRC: Tensor) -> Tensor:
    """Locally dominant matching of rows and columns.

    Of equal pairs that of the smallest row comes first, and then that of the smallest column.

    Args:
        weight_GRC: the heavier, the earlier; -inf where there is no pair. It is written over.

    Returns:
        (G, R) int64 column of each row, -1 without.
    """
    graphs, rows, columns = weight_GRC.shape
    own_R, own_C = (torch.arange(length, device=weight_GRC.device) for length in (rows, columns))
    column_of_GR = torch.full((graphs, rows), -1, device=weight_GRC.device)
    while True:
        for _ in range(ASSIGNMENT_PASSES):
            heaviest_GR, column_GR = weight_GRC.max(dim=2)
            heaviest_GC, row_GC = weight_GRC.max(dim=1)
            matched_GR = (row_GC.gather(1, column_GR) == own_R) & (heaviest_GR > -torch.inf)
            matched_GC = (column_GR.gather(1, row_GC) == own_C) & (heaviest_GC > -torch.inf)
            column_of_GR = torch.where(matched_GR, column_GR, column_of_GR)
            weight_GRC.masked_fill_(matched_GR[:, :, None], -torch.inf)
            weight_GRC.masked_fill_(matched_GC[:, None, :], -torch.inf)
        if not matched_GR.any():
            return column_of_GR


def graclus_matching(weight_GMM: Tensor) -> Matched:
    """torch-cluster's graclus matching of all nodes; random, from torch's global generator.

    Arguments and result as `dominant_matching` of symmetric weights, here logits. It asks the device for the
    number of pairs.

    Raises:
        ValueError: torch-cluster is not installed.
    """
    try:
        from torch_cluster import graclus_cluster
    except ImportError as error:
        raise ValueError(GRACLUS_MISSING) from error
    graphs, size, _ = weight_GMM.shape
    graph_D, first_D, second_D = (weight_GMM > ALONE).nonzero(as_tuple=True)
    weight_D = torch.sigmoid(weight_GMM[graph_D, first_D, second_D])  # it wants them positive
    ends_2D = torch.stack((first_D, second_D)) + graph_D * size
    cluster_GM = graclus_cluster(*ends_2D, weight_D, graphs * size).view(graphs, size)
    same_GMM = cluster_GM[:, :, None] == cluster_GM[:, None]
    into_GM = same_GMM.to(torch.uint8).argmax(dim=2)  # the first of the same cluster
    return Matched(into_GM, torch.zeros((), dtype=torch.int64, device=weight_GMM.device))


def match(weight_GMM: Tensor, into_GM: Tensor | None, method: str) -> Matched:
    """`dominant` or `graclus` matching of macro-nodes by the logits of their edges, which are written over.

    The dominant matching orders logits, not probabilities: in float32 all probabilities of
    logits above 17 are the same 1.0, and the order of the candidates would decide between them.
    """
    if method == "graclus":
        return graclus_matching(weight_GMM)
    return dominant_matching(weight_GMM, into_GM)
