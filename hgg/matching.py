"""Matching: which pairs of macro-nodes merge in one round (section 3.1, graph clustering).

The paper merges "the most confident pairs". Locally dominant matching does exactly that:
an edge merges when it is the heaviest of both its ends, again and again until no edge is
left, which equals taking edges from the heaviest down. graclus, which the paper names,
visits nodes in random order instead and can pass over the heaviest edge.

Nodes carry one number over the whole batch, so a batch is one graph of separate parts.
Letters: E edges.
"""

import torch
from torch import Tensor

GRACLUS_MISSING = (
    "grouping.matching=graclus needs torch-cluster: run `make graclus`, or use grouping.matching=dominant"
)


def dominant_matching(pairs_2E: Tensor, weight_E: Tensor, num_nodes: int) -> Tensor:
    """Edges of the locally dominant matching.

    Args:
        pairs_2E: int64 ends of each edge in [0, num_nodes).
        weight_E: the heavier, the earlier; ties go to the edge that is listed first.
        num_nodes: number of nodes.

    Returns:
        (E,) bool; no two chosen edges share a node, and no further edge could be added.
    """
    first_E, second_E = pairs_2E
    edges = first_E.shape[0]
    order_E = torch.sort(weight_E, descending=True, stable=True).indices
    rank_E = torch.empty_like(order_E).scatter_(0, order_E, torch.arange(edges, device=order_E.device))
    matched_E = torch.zeros(edges, dtype=torch.bool, device=order_E.device)
    left_e = torch.arange(edges, device=order_E.device)  # edges whose ends are both still free
    while left_e.numel():
        first, second, rank = first_E[left_e], second_E[left_e], rank_E[left_e]
        best = torch.full((num_nodes,), edges, dtype=torch.int64, device=order_E.device)
        best.scatter_reduce_(0, first, rank, "amin").scatter_reduce_(0, second, rank, "amin")
        chosen = (best[first] == rank) & (best[second] == rank)
        matched_E[left_e[chosen]] = True
        taken = torch.zeros(num_nodes, dtype=torch.bool, device=order_E.device)
        taken[first[chosen]] = True
        taken[second[chosen]] = True
        left_e = left_e[~(taken[first] | taken[second])]
    return matched_E


def graclus_matching(pairs_2E: Tensor, weight_E: Tensor, num_nodes: int) -> Tensor:
    """Edges of torch-cluster's graclus matching; random, from torch's global generator.

    Arguments and result as `dominant_matching`; weights must be positive.

    Raises:
        ValueError: torch-cluster is not installed.
    """
    try:
        from torch_cluster import graclus_cluster
    except ImportError as error:
        raise ValueError(GRACLUS_MISSING) from error
    both_2F = torch.cat((pairs_2E, pairs_2E.flip(0)), dim=1)
    cluster = graclus_cluster(both_2F[0], both_2F[1], torch.cat((weight_E, weight_E)), num_nodes)
    return cluster[pairs_2E[0]] == cluster[pairs_2E[1]]


def match(pairs_2E: Tensor, logit_E: Tensor, num_nodes: int, method: str) -> Tensor:
    """`dominant` or `graclus` matching by the edges' logits; (E,) bool.

    The dominant matching orders logits, not probabilities: in float32 all probabilities of
    logits above 17 are the same 1.0, and the order of the candidates would decide between them.
    """
    if method == "graclus":
        return graclus_matching(pairs_2E, torch.sigmoid(logit_E), num_nodes)
    return dominant_matching(pairs_2E, logit_E, num_nodes)
