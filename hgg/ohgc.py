"""Online hierarchical graph clustering (Algorithm 1).

Round by round: aggregate the members' embeddings into macro-nodes, score the edges with
the edge discriminator (proximity), match the most confident pairs and merge them, prune
the edges between macro-nodes that share a joint type; until no edge is left to merge.
Every round is supervised: its edges, and the macro-nodes that it formed.

The batch is one graph of separate parts. Nodes carry one number over the whole batch,
image * N + candidate, and a macro-node has the number of its first candidate. A round is
the same few tensor operations whatever the number of images, candidates and edges.

At test time a candidate has an embedding from each view of its photograph. Views never mix:
each is aggregated and judged by itself, and the logits are averaged over the views before a
round's matching. In training there is one view.

Letters: B images, N candidates per image (padded), A = B * N nodes, T views, H embedding,
E edges alive in a round, M macro-nodes, X edges or macro-nodes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hgg.candidates import Candidates
from hgg.clusters import LEFT_OUT
from hgg.config import GroupingConfig
from hgg.discriminators import EdgeDiscriminator, EmbeddingDistance, MacroDiscriminator
from hgg.graph import in_cache
from hgg.labels import IGNORED, edge_label, macro_label, merged_label, with_ignored
from hgg.matching import match


class Verdicts(NamedTuple):
    """What a discriminator said of some edges or macro-nodes, beside the truth."""

    image: Tensor
    """(X,) int64 image of each."""
    logit: Tensor
    """(X,) float32 logit of the discriminator."""
    target: Tensor
    """(X,) float32, 0 or 1."""
    supervised: Tensor
    """(X,) bool; all false without labels."""


class Round(NamedTuple):
    """One round of Algorithm 1."""

    pairs: Tensor
    """(2, E) int64 macro-nodes that an edge joins, the smaller number first."""
    merged: Tensor
    """(E,) bool, whether the round merged the pair."""
    edges: Verdicts
    """The edge discriminator on every edge."""
    macros: Verdicts
    """The macro-node discriminator on every macro-node that the round formed."""


class Hierarchy(NamedTuple):
    """All rounds, and the macro-nodes at the end."""

    rounds: list[Round]
    """At least one, possibly without edges."""
    member: Tensor
    """(B, N) int64 first candidate of each candidate's macro-node, -1 in padding."""
    final_node: Tensor
    """(M,) int64 number of each final macro-node of two or more candidates."""
    final: Verdicts
    """The macro-node discriminator on those."""


class MacroNodes(NamedTuple):
    """State between two rounds; entries of all but `root` count at the numbers in `root`."""

    root: Tensor
    """(A,) int64 macro-node of every node."""
    types: Tensor
    """(A,) int64 joint types of a macro-node, one bit each."""
    known: Tensor
    """(A,) int64 label (`hgg.labels`) of a macro-node's members that are not ignored."""
    ignored: Tensor
    """(A,) bool, whether a macro-node has ignored members."""

    @property
    def label(self) -> Tensor:
        """(A,) int64 label of a macro-node."""
        return with_ignored(self.known, self.ignored)


def cluster(
    embedding_ATH: Tensor,
    pairs_2E: Tensor,
    candidates: Candidates,
    edge_discriminator: EdgeDiscriminator | EmbeddingDistance,
    macro_discriminator: MacroDiscriminator,
    config: GroupingConfig,
    label_BN: Tensor | None = None,
    teacher_B: Tensor | None = None,
) -> Hierarchy:
    """Run Algorithm 1 on a batch.

    Args:
        embedding_ATH: node embeddings of the interaction network, of each view.
        pairs_2E: edges of the graph, each once, the smaller number first.
        candidates: types and validity of the nodes.
        edge_discriminator: gives the proximity.
        macro_discriminator: judges the macro-nodes.
        config: cut, rounds, matching.
        label_BN: labels of the candidates; None at inference, when nothing is supervised.
        teacher_B: bool images that merge by ground truth instead of by the discriminator.

    Returns:
        Rounds and final macro-nodes. An image whose round merged nothing takes no part in
        the next, so an image's rounds do not depend on its neighbours in the batch.
    """
    batch, size = candidates.kind.shape
    nodes = _singletons(candidates, label_BN)
    feature_ATH = aggregate(embedding_ATH, nodes.root)
    rounds: list[Round] = []
    for _ in range(config.max_rounds):
        logit_E = _proximity(feature_ATH, pairs_2E, edge_discriminator)
        label_2E = nodes.label[pairs_2E]
        target_E, supervised_E = edge_label(label_2E[0], label_2E[1])
        image_E = pairs_2E[0] // size
        taught_E = None if teacher_B is None else teacher_B[image_E]
        merged_E = _merges(pairs_2E, logit_E.detach(), target_E, taught_E, len(embedding_ATH), config)
        nodes = merge(nodes, pairs_2E[:, merged_E])
        feature_ATH = aggregate(embedding_ATH, nodes.root)
        edges = Verdicts(image_E, logit_E, target_E, supervised_E & (label_BN is not None))
        kept_M = pairs_2E[0, merged_E]
        formed = _macro_verdicts(kept_M, feature_ATH, nodes, macro_discriminator, label_BN, size)
        rounds.append(Round(pairs_2E, merged_E, edges, formed))
        pairs_2E = prune(pairs_2E, merged_E, nodes, size)
        if pairs_2E.shape[1] == 0:
            break
    final_node = _merged_roots(nodes.root, candidates.valid.flatten())
    final = _macro_verdicts(final_node, feature_ATH, nodes, macro_discriminator, label_BN, size)
    first_A = torch.arange(batch, device=nodes.root.device).repeat_interleave(size) * size
    member_BN = (nodes.root - first_A).view(batch, size).masked_fill(~candidates.valid, LEFT_OUT)
    return Hierarchy(rounds, member_BN, final_node, final)


def _singletons(candidates: Candidates, label_BN: Tensor | None) -> MacroNodes:
    """Every candidate a macro-node of its own."""
    kind_A = candidates.kind.flatten()
    label_A = torch.full_like(kind_A, IGNORED) if label_BN is None else label_BN.flatten()
    number_A = torch.arange(len(kind_A), device=kind_A.device)
    return MacroNodes(number_A, 1 << kind_A, label_A, label_A == IGNORED)


def aggregate(embedding_ATH: Tensor, root_A: Tensor) -> Tensor:
    """Embedding of every macro-node: the mean of its members', at its number; 0 elsewhere. (A, T, H)."""
    total_ATH = torch.zeros_like(embedding_ATH).index_add(0, root_A, embedding_ATH)
    count_A = torch.bincount(root_A, minlength=len(root_A))
    return total_ATH / count_A.clamp(min=1)[:, None, None]


def _proximity(
    feature_ATH: Tensor, pairs_2E: Tensor, discriminator: EdgeDiscriminator | EmbeddingDistance
) -> Tensor:
    """The edge discriminator's logit on every pair, the mean of its views', (E,)."""
    logits = [
        discriminator(*(feature_ATH.index_select(0, end_E) for end_E in part_2E)).mean(dim=-1)
        for part_2E in in_cache(pairs_2E)
    ]
    return torch.cat(logits)


def _merges(
    pairs_2E: Tensor,
    logit_E: Tensor,
    target_E: Tensor,
    taught_E: Tensor | None,
    num_nodes: int,
    config: GroupingConfig,
) -> Tensor:
    """Pairs that merge in this round: matched among those at or above the cut, (E,) bool.

    In taught images the ground truth decides what may merge; the proximity still says
    which pairs come first.
    """
    open_E = torch.sigmoid(logit_E) >= config.cut
    if taught_E is not None:
        open_E = torch.where(taught_E, target_E > 0, open_E)
    merged_E = open_E.clone()
    merged_E[open_E] = match(pairs_2E[:, open_E], logit_E[open_E], num_nodes, config.matching)
    return merged_E


def merge(nodes: MacroNodes, pairs_2M: Tensor) -> MacroNodes:
    """Merge pairs of macro-nodes, none of which shares a macro-node with another pair."""
    keep_M, gone_M = pairs_2M
    into_A = torch.arange(len(nodes.root), device=nodes.root.device).index_put((gone_M,), keep_M)
    known_M = merged_label(nodes.known[keep_M], nodes.known[gone_M])
    return MacroNodes(
        root=into_A[nodes.root],
        types=nodes.types.index_put((keep_M,), nodes.types[keep_M] | nodes.types[gone_M]),
        known=nodes.known.index_put((keep_M,), known_M),
        ignored=nodes.ignored.index_put((keep_M,), nodes.ignored[keep_M] | nodes.ignored[gone_M]),
    )


def prune(pairs_2E: Tensor, merged_E: Tensor, nodes: MacroNodes, size: int) -> Tensor:
    """Edges of the next round, each once, ordered by their ends.

    Edges follow their ends into the merged macro-nodes; those inside one macro-node go, and
    those between macro-nodes that share a joint type (Algorithm 1, pruning), and those of
    images in which this round merged nothing, as no later round could.
    """
    total = len(nodes.root)
    image_E = pairs_2E[0] // size
    going_A = torch.zeros(total, dtype=torch.bool, device=image_E.device)
    going_A[image_E[merged_E]] = True
    ends_2E = nodes.root[pairs_2E]
    first_E, second_E = torch.minimum(*ends_2E), torch.maximum(*ends_2E)
    apart_E = (first_E != second_E) & ((nodes.types[first_E] & nodes.types[second_E]) == 0)
    alive_E = apart_E & going_A[image_E]
    key_E = torch.unique(first_E[alive_E] * total + second_E[alive_E])
    return torch.stack((key_E // total, key_E % total))


def _macro_verdicts(
    node_M: Tensor,
    feature_ATH: Tensor,
    nodes: MacroNodes,
    discriminator: MacroDiscriminator,
    label_BN: Tensor | None,
    size: int,
) -> Verdicts:
    """The macro-node discriminator on some macro-nodes."""
    target_M, supervised_M = macro_label(nodes.label[node_M])
    logit_M = discriminator(feature_ATH[node_M]).mean(dim=-1)
    return Verdicts(node_M // size, logit_M, target_M, supervised_M & (label_BN is not None))


def _merged_roots(root_A: Tensor, valid_A: Tensor) -> Tensor:
    """Numbers of the macro-nodes of two or more candidates, (M,)."""
    count_A = torch.bincount(root_A[valid_A], minlength=len(root_A))
    return (count_A >= 2).nonzero().squeeze(1)
