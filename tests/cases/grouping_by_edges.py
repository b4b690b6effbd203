"""Grouping over lists of edges, as `hgg` had it before its graphs became matrices: a second route.

A batch is one graph of separate parts, whose nodes have one number over the batch, image * N + candidate; a
macro-node has the number of its first candidate. Lists are cut to what is left as often as there is less.

Letters: B images, N candidates (padded), A = B * N nodes, T views, H hidden features, E edges, D directed
edges (both ways), P people.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.candidates import Candidates
from hgg.interaction import EdgeConv
from hgg.labels import BACKGROUND, IGNORED, OKS_ACCEPTED, keypoint_oks
from hgg.model import Grouping
from hgg.skeleton import COCO, GraphName, Skeleton, graph_links
from hgg.targets import Targets

IMPURE = -3  # label of a macro-node with candidates of two people, or with background beside anything


def list_edges(candidates: Candidates, graph: GraphName = "full", skeleton: Skeleton = COCO) -> Tensor:
    """(2, E) edges between valid candidates of one image whose types are joined, in ascending order."""
    joined_JJ = torch.zeros(skeleton.count, skeleton.count, dtype=torch.bool)
    for a, b in graph_links(graph, skeleton):
        joined_JJ[a, b] = joined_JJ[b, a] = True
    joined_BNN = joined_JJ[candidates.kind[:, :, None], candidates.kind[:, None, :]]
    edge_BNN = joined_BNN & candidates.valid[:, :, None] & candidates.valid[:, None, :]
    image_E, first_E, second_E = edge_BNN.triu(diagonal=1).nonzero(as_tuple=True)
    start_E = image_E * candidates.kind.shape[1]
    return torch.stack((start_E + first_E, start_E + second_E))


def edge_conv_by_edges(conv: EdgeConv, x_AF: Tensor, edges_2D: Tensor) -> Tensor:
    """EdgeConv on directed edges (2, D) from neighbour to node, which are ordered by node."""
    own_HF, other_HF = conv.first.weight.chunk(2, dim=1)
    own_AH = F.linear(x_AF, own_HF - other_HF, conv.first.bias)
    other_AH = F.linear(x_AF, other_HF)
    source_D, target_D = edges_2D
    pair_DH = conv.last(F.relu(own_AH[target_D] + other_AH[source_D]))
    start_A = torch.searchsorted(target_D, torch.arange(len(x_AF)))
    return F.embedding_bag(torch.arange(len(target_D)), pair_DH, start_A, mode="max")


def matching_by_edges(pairs_2E: Tensor, weight_E: Tensor, num_nodes: int) -> Tensor:
    """(E,) bool locally dominant matching; of equal edges that listed first comes first."""
    first_E, second_E = pairs_2E
    edges = first_E.shape[0]
    order_E = torch.sort(weight_E, descending=True, stable=True).indices
    rank_E = torch.empty_like(order_E).scatter_(0, order_E, torch.arange(edges))
    matched_E = torch.zeros(edges, dtype=torch.bool)
    left_e = torch.arange(edges)  # edges whose ends are both still free
    while left_e.numel():
        first, second, rank = first_E[left_e], second_E[left_e], rank_E[left_e]
        best = torch.full((num_nodes,), edges)
        best.scatter_reduce_(0, first, rank, "amin").scatter_reduce_(0, second, rank, "amin")
        chosen = (best[first] == rank) & (best[second] == rank)
        matched_E[left_e[chosen]] = True
        taken = torch.zeros(num_nodes, dtype=torch.bool)
        taken[first[chosen]] = taken[second[chosen]] = True
        left_e = left_e[~(taken[first] | taken[second])]
    return matched_E


@torch.no_grad()
def assign_by_edges(candidates: Candidates, targets: Targets, skeleton: Skeleton = COCO) -> Tensor:
    """`hgg.labels.assign`, its ignore regions apart."""
    oks_BNP = keypoint_oks(candidates, targets, skeleton)
    near_BNP = oks_BNP >= OKS_ACCEPTED
    image_E, candidate_E, person_E = near_BNP.nonzero(as_tuple=True)
    batch, num_candidates, people = oks_BNP.shape
    joint_E = (image_E * people + person_E) * targets.joints.shape[2] + candidates.kind[image_E, candidate_E]
    nodes = batch * num_candidates
    chosen_E = matching_by_edges(
        torch.stack((image_E * num_candidates + candidate_E, nodes + joint_E)),
        oks_BNP[image_E, candidate_E, person_E],
        nodes + targets.joints.shape[:3].numel(),
    )
    label_BN = torch.full_like(candidates.kind, BACKGROUND)
    label_BN[near_BNP.any(dim=2)] = IGNORED
    label_BN[image_E[chosen_E], candidate_E[chosen_E]] = person_E[chosen_E]
    return label_BN


class ListedRound(NamedTuple):
    """One round, as `hgg.ohgc.Round` has it."""

    pairs: Tensor
    merged: Tensor
    logit: Tensor
    target: Tensor
    supervised: Tensor
    formed: list[tuple[int, float, float, bool]]
    """Number, logit, target and supervision of each macro-node that the round formed, by number."""


class Listed(NamedTuple):
    """All rounds, and the first candidate (B, N) of each candidate's macro-node."""

    rounds: list[ListedRound]
    member: Tensor
    final: list[tuple[int, float, float, bool]]


def cluster_by_edges(
    grouping: Grouping,
    embedding_ATH: Tensor,
    candidates: Candidates,
    label_BN: Tensor | None = None,
    teacher_B: Tensor | None = None,
) -> Listed:
    """Algorithm 1 from the embeddings (A, T, H) on."""
    config, size = grouping.config, candidates.kind.shape[1]
    kind_A, root_A = candidates.kind.flatten(), torch.arange(candidates.kind.numel())
    types_A = 1 << kind_A
    known_A = torch.full_like(kind_A, IGNORED) if label_BN is None else label_BN.flatten()
    ignored_A = known_A == IGNORED
    pairs_2E = list_edges(candidates, config.graph, grouping.joints)
    feature_ATH = _means(embedding_ATH, root_A)
    rounds = []
    for _ in range(config.max_rounds):
        logit_E = grouping.edge(feature_ATH, *pairs_2E).mean(dim=-1)
        first_E, second_E = _with_ignored(known_A, ignored_A)[pairs_2E]
        target_E = ((first_E == second_E) & (first_E >= 0)).float()
        open_E = torch.sigmoid(logit_E) >= config.cut
        if teacher_B is not None:
            open_E = torch.where(teacher_B[pairs_2E[0] // size], target_E > 0, open_E)
        merged_E = open_E.clone()
        merged_E[open_E] = matching_by_edges(pairs_2E[:, open_E], logit_E[open_E], len(kind_A))
        keep_M, gone_M = pairs_2E[:, merged_E]
        root_A = torch.arange(len(root_A)).index_put((gone_M,), keep_M)[root_A]
        types_A = types_A.index_put((keep_M,), types_A[keep_M] | types_A[gone_M])
        known_A = known_A.index_put((keep_M,), _merged_label(known_A[keep_M], known_A[gone_M]))
        ignored_A = ignored_A.index_put((keep_M,), ignored_A[keep_M] | ignored_A[gone_M])
        feature_ATH = _means(embedding_ATH, root_A)
        label_A, labelled = _with_ignored(known_A, ignored_A), label_BN is not None
        supervised_E = (first_E >= BACKGROUND) & (second_E >= BACKGROUND) & labelled
        formed = _judged(grouping, keep_M.sort().values, feature_ATH, label_A, labelled)
        rounds.append(ListedRound(pairs_2E, merged_E, logit_E, target_E, supervised_E, formed))
        pairs_2E = _pruned(pairs_2E, merged_E, root_A, types_A, size)
        if pairs_2E.shape[1] == 0:
            break
    count_A = torch.bincount(root_A[candidates.valid.flatten()], minlength=len(root_A))
    final = _judged(grouping, (count_A >= 2).nonzero().flatten(), feature_ATH, label_A, labelled)
    first_A = torch.arange(len(candidates.kind)).repeat_interleave(size) * size
    member_BN = (root_A - first_A).view_as(candidates.kind).masked_fill(~candidates.valid, -1)
    return Listed(rounds, member_BN, final)


def _means(embedding_ATH: Tensor, root_A: Tensor) -> Tensor:
    total_ATH = torch.zeros_like(embedding_ATH).index_add(0, root_A, embedding_ATH)
    return total_ATH / torch.bincount(root_A, minlength=len(root_A)).clamp(min=1)[:, None, None]


def _judged(
    grouping: Grouping, node_M: Tensor, feature_ATH: Tensor, label_A: Tensor, labelled: bool
) -> list[tuple[int, float, float, bool]]:
    logit_M, label_M = grouping.macro(feature_ATH[node_M]).mean(dim=-1), label_A[node_M]
    target_M, supervised_M = (label_M >= 0).float(), (label_M != IGNORED) & labelled
    parts = (part.tolist() for part in (node_M, logit_M, target_M, supervised_M))
    return list(zip(*parts, strict=True))


def _pruned(pairs_2E: Tensor, merged_E: Tensor, root_A: Tensor, types_A: Tensor, size: int) -> Tensor:
    total, image_E = len(root_A), pairs_2E[0] // size
    going_A = torch.zeros(total, dtype=torch.bool)
    going_A[image_E[merged_E]] = True
    ends_2E = root_A[pairs_2E]
    first_E, second_E = torch.minimum(*ends_2E), torch.maximum(*ends_2E)
    apart_E = (first_E != second_E) & ((types_A[first_E] & types_A[second_E]) == 0)
    alive_E = apart_E & going_A[image_E]
    key_E = torch.unique(first_E[alive_E] * total + second_E[alive_E])
    return torch.stack((key_E // total, key_E % total))


def _merged_label(first_E: Tensor, second_E: Tensor) -> Tensor:
    same = (first_E == second_E) & (first_E >= 0)
    label_E = torch.where(same, first_E, IMPURE)
    label_E = torch.where(second_E == IGNORED, first_E, label_E)
    return torch.where(first_E == IGNORED, second_E, label_E)


def _with_ignored(label_A: Tensor, ignored_A: Tensor) -> Tensor:
    return torch.where(ignored_A & (label_A != IMPURE), IGNORED, label_A)
