"""Online hierarchical graph clustering (Algorithm 1).

Round by round: aggregate the members' embeddings into macro-nodes, score the edges with
the edge discriminator (proximity), match the most confident pairs and merge them, prune
the edges between macro-nodes that share a joint type; until no edge is left to merge.
Every round is supervised: its edges, and the macro-nodes that it formed.

A round is the same few tensor operations whatever the number of images, candidates and edges. The
macro-nodes of an image stand in rows, each in that of its first candidate; the other rows are empty. A round
waits for the device once, for how many edges it leaves: on a GPU waiting takes longer than the work.

At test time a candidate has an embedding from each view of its photograph. Views never mix:
each is aggregated and judged by itself, and the logits are averaged over the views before a
round's matching. In training there is one view.

Letters: B images, N candidates per image (padded), M rows of macro-nodes per image, T views, H embedding,
J joint types, E edges alive in a round, X edges or macro-nodes, S = T * H + 2 * J + 1 sums (T * H more where
squares are summed too), K = 4 marks, F features of a macro-node.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hgg.candidates import Candidates
from hgg.clusters import LEFT_OUT
from hgg.config import GroupingConfig
from hgg.discriminators import EdgeDiscriminator, EmbeddingDistance, MacroDiscriminator
from hgg.graph import Graph, compatible, list_pairs, one_hot, pairs_at_once
from hgg.hierarchy import FIRST, Hierarchy, MacroNodes, Round, Verdicts
from hgg.labels import IGNORED, edge_label, macro_label, marks_of, single_person
from hgg.matching import ALONE, match

LEAST_VARIANCE = 1e-6  # of embeddings, whose mean square is 1; where all are equal a root has no slope
LARGEST = 1e30  # of a logit; what is not a number ends training, but only after its forward pass


def cluster(
    embedding_BNTH: Tensor,
    graph: Graph,
    candidates: Candidates,
    edge_discriminator: EdgeDiscriminator | EmbeddingDistance,
    macro_discriminator: MacroDiscriminator,
    rule_JJ: Tensor,
    config: GroupingConfig,
    label_BN: Tensor | None = None,
    teacher_B: Tensor | None = None,
) -> Hierarchy:
    """Run Algorithm 1 on a batch.

    Args:
        embedding_BNTH: node embeddings of the interaction network, of each view.
        graph: the edges between the candidates.
        candidates: types and validity of the nodes.
        edge_discriminator: gives the proximity.
        macro_discriminator: judges the macro-nodes.
        rule_JJ: which types an edge may join (`hgg.graph.link_rule`).
        config: cut, rounds, matching.
        label_BN: labels of the candidates; None at inference, when nothing is supervised.
        teacher_B: bool images that merge by ground truth instead of by the discriminator.

    Returns:
        Rounds and final macro-nodes. An image whose round merged nothing takes no part in
        the next, so an image's rounds do not depend on its neighbours in the batch.
    """
    views_TH = embedding_BNTH.shape[2:]
    squares = macro_discriminator.spread
    nodes = _singletons(embedding_BNTH, graph, candidates, label_BN, rule_JJ, squares=squares)
    parts = []
    for _ in range(config.max_rounds):
        # In a crowd the matrices cost more than this; in training there are not so many candidates.
        before = nodes if torch.is_grad_enabled() else _shrunk(nodes)
        ends, edges = _judge_edges(before, views_TH, edge_discriminator)
        rejected_E = None
        if config.veto > 0 and label_BN is None:
            rejected_E = _rejected(before, ends, edges, views_TH, macro_discriminator, config.veto)
        weight_BMM = _weights(before, ends, edges, rejected_E, teacher_B, config.cut)
        into_BM, nodes = _merge(before, weight_BMM, len(rule_JJ), config.matching)
        parts.append((before, ends, edges, rejected_E, into_BM, nodes))
        if nodes.edges == 0:
            break
    macros = _judge_macros([after for *_, after in parts], views_TH, macro_discriminator)
    rounds = [Round(*part, verdicts) for part, verdicts in zip(parts, macros, strict=True)]
    rounds = [each._replace(macros=_only(each.macros, each.formed)) for each in rounds]
    first_BN = nodes.marks[..., FIRST].gather(1, nodes.row).masked_fill(~candidates.valid, LEFT_OUT)
    return Hierarchy(rounds, first_BN, _only(macros[-1], (nodes.members > 1).flatten()))


def _singletons(
    embedding_BNTH: Tensor,
    graph: Graph,
    candidates: Candidates,
    label_BN: Tensor | None,
    rule_JJ: Tensor,
    *,
    squares: bool,
) -> MacroNodes:
    """Every candidate a macro-node of its own."""
    kind_BN, empty_BN1 = candidates.kind, ~candidates.valid[..., None]
    types_BNJ = one_hot(kind_BN, len(rule_JJ), embedding_BNTH.dtype)
    one_BN1 = torch.ones_like(types_BNJ[..., :1])
    embedding_BNF = embedding_BNTH.flatten(2)
    parts = (embedding_BNF, embedding_BNF.square()) if squares else (embedding_BNF,)
    sums_BNS = torch.cat((*parts, types_BNJ, rule_JJ[kind_BN], one_BN1), dim=-1)
    row_BN = torch.arange(kind_BN.shape[1], device=kind_BN.device).expand_as(kind_BN)
    label_BN = torch.full_like(kind_BN, IGNORED) if label_BN is None else label_BN
    marks_BNK = torch.cat((marks_of(label_BN), row_BN[..., None]), dim=-1)
    return MacroNodes(
        sums_BNS.masked_fill(empty_BN1, 0), marks_BNK, row_BN, graph.joined, graph.edges, max(graph.sizes)
    )


def _judge_edges(
    nodes: MacroNodes, views_TH: torch.Size, discriminator: EdgeDiscriminator | EmbeddingDistance
) -> tuple[tuple[Tensor, Tensor], Verdicts]:
    """Rows of both ends of every edge, and the edge discriminator's logit, the mean of its views'."""
    image_E, first_E, second_E = list_pairs(nodes.joined, nodes.edges)
    rows_E = _rows(nodes, image_E, (first_E, second_E))
    logit_E = _proximity(aggregate(nodes.sums.flatten(0, 1), views_TH), rows_E, discriminator)
    person_X = single_person(nodes.marks).flatten()
    target_E, supervised_E = edge_label(*(person_X.index_select(0, row_E) for row_E in rows_E))
    return (first_E, second_E), Verdicts(image_E, logit_E, target_E, supervised_E)


def _rows(nodes: MacroNodes, image_E: Tensor, ends: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Rows of both ends of every edge over the whole batch, from those within their images."""
    return [end_E.add(image_E, alpha=nodes.joined.shape[1]) for end_E in ends]


def _proximity(
    mean_XH: Tensor, rows_E: Sequence[Tensor], discriminator: EdgeDiscriminator | EmbeddingDistance
) -> Tensor:
    """The edge discriminator's logit on pairs of rows, (E,); of several views the mean."""
    # All pairs' features are wanted on the way back; without one, a part of them at a time.
    at_once = len(rows_E[0]) if torch.is_grad_enabled() else pairs_at_once(mean_XH.device)
    if len(rows_E[0]) <= at_once:
        return _mean_over_views(discriminator(mean_XH, *rows_E))
    parts = zip(*(row_E.split(at_once) for row_E in rows_E), strict=True)
    return torch.cat([_mean_over_views(discriminator(mean_XH, *part)) for part in parts])


def aggregate(sums_XS: Tensor, views_TH: torch.Size) -> Tensor:
    """Embedding of the macro-node in every row: the mean of its members', 0 in empty rows.

    (X, H), or (X, T, H) of several views.
    """
    mean_XF = sums_XS[:, : views_TH.numel()] / sums_XS[:, -1:].detach().clamp(min=1)
    return mean_XF if views_TH[0] == 1 else mean_XF.unflatten(1, views_TH)


def macro_features(sums_XS: Tensor, views_TH: torch.Size, *, spread: bool) -> Tensor:
    """What the macro-node discriminator sees of the macro-node in every row: (X, F), or (X, T, F)."""
    mean_XH = aggregate(sums_XS, views_TH)
    if not spread:
        return mean_XH
    square_XH = aggregate(sums_XS[:, views_TH.numel() :], views_TH)
    deviation_XH = (square_XH - mean_XH.square()).clamp(min=LEAST_VARIANCE).sqrt()
    return torch.cat((mean_XH, deviation_XH), dim=-1)


def _mean_over_views(logit: Tensor) -> Tensor:
    """(X,) from (X,) or (X, T)."""
    return logit if logit.dim() == 1 else logit.mean(dim=1)


@torch.no_grad()
def _rejected(
    nodes: MacroNodes,
    ends: tuple[Tensor, Tensor],
    edges: Verdicts,
    views_TH: torch.Size,
    discriminator: MacroDiscriminator,
    veto: float,
) -> Tensor:
    """Whether the macro-node discriminator would reject what an edge would make, (E,) bool."""
    sums_XS = nodes.sums.flatten(0, 1)
    rows_E = _rows(nodes, edges.image, ends)
    parts = zip(*(row_E.split(pairs_at_once(sums_XS.device)) for row_E in rows_E), strict=True)
    logits = [
        _macro_logit(
            sums_XS.index_select(0, first_E) + sums_XS.index_select(0, second_E), views_TH, discriminator
        )
        for first_E, second_E in parts
    ]
    return torch.cat(logits).sigmoid() < veto


def _macro_logit(sums_XS: Tensor, views_TH: torch.Size, discriminator: MacroDiscriminator) -> Tensor:
    """The macro-node discriminator's logit on what is in every row, (X,); of several views the mean."""
    return _mean_over_views(discriminator(macro_features(sums_XS, views_TH, spread=discriminator.spread)))


def _weights(
    nodes: MacroNodes,
    ends: tuple[Tensor, Tensor],
    edges: Verdicts,
    rejected_E: Tensor | None,
    teacher_B: Tensor | None,
    cut: float,
) -> Tensor:
    """Logits of the edges that may merge in this round, those at or above the cut, for `match`. (B, M, M).

    In taught images the ground truth decides what may merge; the proximity still says
    which pairs come first.
    """
    logit_E = edges.logit.detach()
    open_E = torch.sigmoid(logit_E) >= cut
    if rejected_E is not None:
        open_E = open_E & ~rejected_E
    if teacher_B is not None:
        open_E = torch.where(teacher_B[edges.image], edges.target > 0, open_E)
    weight_E = logit_E.nan_to_num(0, LARGEST, -LARGEST).masked_fill(~open_E, -torch.inf)
    weight_BMM = logit_E.new_full(nodes.joined.shape, -torch.inf)
    weight_BMM.diagonal(dim1=1, dim2=2).fill_(ALONE)
    first_E, second_E = ends
    weight_BMM[edges.image, first_E, second_E] = weight_E
    weight_BMM[edges.image, second_E, first_E] = weight_E
    return weight_BMM


def _merge(nodes: MacroNodes, weight_BMM: Tensor, joint_types: int, method: str) -> tuple[Tensor, MacroNodes]:
    """Match, merge and prune: which row's macro-node went into which, (B, M), and what is left."""
    matched = match(weight_BMM, None, method)
    while True:
        into_BM1 = matched.into[..., None]
        empty_BMS = torch.zeros_like(nodes.sums)
        sums_BMS = empty_BMS.scatter_add(1, into_BM1.expand_as(empty_BMS), nodes.sums)
        joined_BMM = _still_joined(sums_BMS, into_BM1, joint_types)
        asked = [matched.left, joined_BMM.sum()]
        if not torch.is_grad_enabled():
            asked.append((sums_BMS[..., -1] > 0).sum(dim=1).max())
        left, both, *most = torch.stack(asked).tolist()  # the round's wait
        if not left:
            break
        matched = match(weight_BMM, matched.into, method)
    marks_BMK = nodes.marks.scatter_reduce(1, into_BM1.expand_as(nodes.marks), nodes.marks, "amin")
    row_BN = matched.into.gather(1, nodes.row)
    most = most[0] if most else nodes.most
    return matched.into, MacroNodes(sums_BMS, marks_BMK, row_BN, joined_BMM, both // 2, most)


def _still_joined(sums_BMS: Tensor, into_BM1: Tensor, joint_types: int) -> Tensor:
    """Edges that are left, (B, M, M) bool.

    Those between macro-nodes that share a joint type go (Algorithm 1, pruning), and those of images in which
    this round merged nothing, as no later round could.
    """
    types_BMJ, linked_BMJ = sums_BMS.detach()[..., -1 - 2 * joint_types : -1].chunk(2, dim=-1)
    own_M1 = torch.arange(into_BM1.shape[1], device=into_BM1.device)[:, None]
    going_B11 = (into_BM1 != own_M1).any(dim=1, keepdim=True)
    return compatible(types_BMJ * going_B11, linked_BMJ)


def _shrunk(nodes: MacroNodes) -> MacroNodes:
    """The same macro-nodes in as many rows as the image needs that has the most, in the same order."""
    if nodes.most == nodes.joined.shape[1]:
        return nodes
    there_BM = nodes.members > 0
    order_BM = there_BM.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : max(1, nodes.most)]

    def taken(part: Tensor) -> Tensor:
        return part.gather(1, order_BM[..., None].expand(-1, -1, part.shape[2]))

    return nodes._replace(
        sums=taken(nodes.sums),
        marks=taken(nodes.marks),
        row=(there_BM.cumsum(dim=1) - 1).clamp(min=0).gather(1, nodes.row),
        joined=taken(taken(nodes.joined).mT),
    )


def _judge_macros(
    states: list[MacroNodes], views_TH: torch.Size, discriminator: MacroDiscriminator
) -> list[Verdicts]:
    """The macro-node discriminator on every row of each state, in one go; not to be read in empty rows."""
    sums_XS = torch.cat([nodes.sums.flatten(0, 1) for nodes in states])
    logit_X = _macro_logit(sums_XS, views_TH, discriminator)
    target_X, supervised_X = macro_label(torch.cat([nodes.marks.flatten(0, 1) for nodes in states]))
    shapes = [nodes.marks.shape[:2] for nodes in states]
    sizes = [shape.numel() for shape in shapes]
    parts = (part_X.split(sizes) for part_X in (logit_X, target_X, supervised_X))
    image_of = {shape: _images(shape, logit_X.device) for shape in set(shapes)}
    return [Verdicts(image_of[shape], *part) for shape, *part in zip(shapes, *parts, strict=True)]


def _images(shape: torch.Size, device: torch.device) -> Tensor:
    """Image of every row of (B, M), one after the other: (X,)."""
    return torch.arange(shape[0], device=device)[:, None].expand(shape).flatten()


def _only(verdicts: Verdicts, chosen_X: Tensor) -> Verdicts:
    """Verdicts of which only the chosen ones may be supervised."""
    return verdicts._replace(supervised=verdicts.supervised & chosen_X)
