"""How one photograph's candidates became people, round by round (Algorithm 1), as plain values to show.

Letters: N candidates, E edges, M macro-nodes, P people, J joint types.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from hgg.candidates import Candidates
from hgg.hierarchy import Hierarchy, Round
from hgg.poses import Poses
from hgg.transform import apply, invert, to_pixels

Outcome = Literal["merged", "below the cut", "rejected as a macro-node", "matched elsewhere"]


class Node(NamedTuple):
    """A keypoint candidate."""

    joint: int
    """Type in [0, J)."""
    x: float
    y: float
    """Pixels of the photograph."""
    score: float
    """Heatmap value."""
    tag: float


class Edge(NamedTuple):
    """What a round said of two macro-nodes, each named by its first candidate."""

    first: int
    second: int
    probability: float
    """Proximity: that both are one person, by the edge discriminator."""
    outcome: Outcome


class Step(NamedTuple):
    """One round of Algorithm 1."""

    edges: list[Edge]
    """All pairs that were compatible, the most probable first."""
    member: list[int]
    """Macro-node of each candidate after the round."""
    verdicts: dict[int, float]
    """The macro-node discriminator's probability that a macro-node formed in this round is one person."""


def explain_nodes(candidates: Candidates, transform: np.ndarray) -> list[Node]:
    """The candidates of a batch of one image.

    Args:
        candidates: B is 1.
        transform: (2, 3) original pixels to input pixels.
    """
    valid = candidates.valid[0]
    xy_N2 = apply(invert(transform), to_pixels(candidates.xy[0, valid].cpu().numpy()))
    kinds, scores = candidates.kind[0, valid].tolist(), candidates.score[0, valid].tolist()
    tags = candidates.tag[0, valid, 0].tolist()
    return [
        Node(kind, float(x), float(y), score, tag)
        for kind, (x, y), score, tag in zip(kinds, xy_N2, scores, tags, strict=True)
    ]


def explain_rounds(hierarchy: Hierarchy, number: int, cut: float) -> list[Step]:
    """The rounds of a batch of one image that merged something.

    Args:
        hierarchy: what `hgg.ohgc.cluster` returned.
        number: N, candidates without padding.
        cut: `grouping.cut`.
    """
    member, steps = [*range(number)], []
    for each in hierarchy.rounds:
        edges = _edges(each, cut)
        into = {edge.second: edge.first for edge in edges if edge.outcome == "merged"}
        if not into:
            break
        member = [into.get(node, node) for node in member]
        formed = each.after.number.flatten()[each.formed].tolist()
        verdicts = dict(zip(formed, each.macros.logit[each.formed].sigmoid().tolist(), strict=True))
        steps.append(Step(edges, member, verdicts))
    return steps


def _edges(each: Round, cut: float) -> list[Edge]:
    probability_E = each.edges.logit.sigmoid().tolist()
    rejected_E = torch.zeros_like(each.merged) if each.rejected is None else each.rejected
    rows = zip(*each.pairs.tolist(), probability_E, each.merged.tolist(), rejected_E.tolist(), strict=True)
    edges = [Edge(a, b, p, _outcome(p, merged, out, cut)) for a, b, p, merged, out in rows]
    return sorted(edges, key=lambda edge: -edge.probability)


def _outcome(probability: float, merged: bool, rejected: bool, cut: float) -> Outcome:
    if merged:
        return "merged"
    if probability < cut:
        return "below the cut"
    return "rejected as a macro-node" if rejected else "matched elsewhere"


def sources(poses: Poses, member: Sequence[int], nodes: Sequence[Node]) -> np.ndarray:
    """Candidate that each person's keypoints are, (P, J) int64; -1 where filled in or missing.

    Args:
        poses: people that came of clusters.
        member: the cluster of each candidate.
        nodes: the candidates.
    """
    found_PJ = np.full(poses.keypoints.shape[:2], -1)
    person_of = {} if poses.first is None else {first: p for p, first in enumerate(poses.first.tolist())}
    for index, (cluster, node) in enumerate(zip(member, nodes, strict=True)):
        if cluster in person_of:
            found_PJ[person_of[cluster], node.joint] = index
    return found_PJ
