"""Grouping by matrices beside grouping by lists of edges: the same merges, verdicts and gradients.

Letters: B images, N candidates, T views, H embedding, P people.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from hgg.candidates import Candidates
from hgg.graph import keypoint_graph
from hgg.hierarchy import Hierarchy, Verdicts
from hgg.labels import BACKGROUND, IGNORED, assign
from hgg.skeleton import NUM_JOINTS
from tests.cases.candidates import make_candidates
from tests.cases.core import make_targets, spread_grouping
from tests.cases.grouping_by_edges import (
    Listed,
    assign_by_edges,
    cluster_by_edges,
)

BATCHES, HIDDEN = 300, 8


def _random_candidates(generator: torch.Generator, most: int) -> Candidates:
    """One to four images of zero to `most` candidates, of few or of all types."""
    images = []
    types = int(torch.randint(2, NUM_JOINTS + 1, (), generator=generator))
    for _ in range(int(torch.randint(1, 5, (), generator=generator))):
        count = int(torch.randint(0, most + 1, (), generator=generator))
        kinds = torch.randint(types, (count,), generator=generator).tolist()
        images.append([(kind, 0.5, 0.0, 0, 0) for kind in kinds])
    return make_candidates(*images)


def _labels(candidates: Candidates, generator: torch.Generator) -> Tensor:
    """Each candidate a person's, nobody's, or ignored; sometimes two of one type the same person's."""
    label_BN = torch.randint(IGNORED, 4, candidates.kind.shape, generator=generator)
    return label_BN.masked_fill(~candidates.valid, BACKGROUND)


def _embedding(candidates: Candidates, views: int, tied: bool, generator: torch.Generator) -> Tensor:
    """(B, N, T, H); where tied, of two kinds only, so that many logits are equal."""
    shape = (*candidates.kind.shape, views, HIDDEN)
    if tied:
        return (
            torch.randint(2, shape[:2], generator=generator)[..., None, None].double().expand(shape).clone()
        )
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _verdicts(verdicts: Verdicts, node_X: Tensor, chosen_X: Tensor) -> list[tuple[int, float, float, bool]]:
    parts = (node_X, verdicts.logit, verdicts.target, verdicts.supervised)
    return sorted(zip(*(part[chosen_X].tolist() for part in parts), strict=True))


def _assert_same(ours: Hierarchy, listed: Listed) -> None:
    assert ours.member.equal(listed.member)
    assert len(ours.rounds) == len(listed.rounds)
    for mine, other in zip(ours.rounds, listed.rounds, strict=True):
        assert mine.pairs.equal(other.pairs)
        assert mine.merged.equal(other.merged)
        torch.testing.assert_close(mine.edges.logit, other.logit)
        assert mine.edges.supervised.equal(other.supervised)
        known = other.supervised
        assert mine.edges.target[known].equal(other.target[known])
        _assert_verdicts(_verdicts(mine.macros, mine.after.number.flatten(), mine.formed), other.formed)
        assert not (mine.macros.supervised & ~mine.formed).any()
    _assert_verdicts(_verdicts(ours.final, ours.node, ours.of_at_least(2)), listed.final)


def _assert_verdicts(mine: list[Any], other: list[Any]) -> None:
    assert [row[0] for row in mine] == [row[0] for row in other]
    assert [row[1] for row in mine] == pytest.approx([row[1] for row in other])
    assert [row[3] for row in mine] == [row[3] for row in other]
    assert [row[2] for row in mine if row[3]] == [row[2] for row in other if row[3]]


@pytest.mark.parametrize("graph", ["full", "tree", "bypass", "extended"])
@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "ties"])
def test_the_same_hierarchy(graph: str, tied: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    rounds = merges = 0
    for seed in range(BATCHES // 8):
        config = {"graph": graph, "cut": [0.0, 0.3, 0.5, 0.7][seed % 4], "max_rounds": 1 + seed % 10}
        grouping = spread_grouping(seed, **config | {"hidden": HIDDEN})
        candidates = _random_candidates(generator, most=30)
        embedding = _embedding(candidates, 1 + seed % 2, tied, generator)
        labels = _labels(candidates, generator) if seed % 3 else None
        teacher = torch.rand(len(embedding), generator=generator) < 0.5 if seed % 3 == 2 else None
        rule = grouping.rule_JJ.double()
        ours = grouping.cluster(embedding, keypoint_graph(candidates, rule), candidates, labels, teacher)
        listed = cluster_by_edges(grouping, embedding.flatten(0, 1), candidates, labels, teacher)
        _assert_same(ours, listed)
        rounds += len(ours.rounds)
        merges += sum(int(each.merged.sum()) for each in ours.rounds)
    assert rounds > 2 * (BATCHES // 8)
    assert merges > 10 * (BATCHES // 8)


def test_the_same_assignment() -> None:
    generator = torch.Generator().manual_seed(7)
    assigned = 0
    for seed in range(BATCHES):
        candidates = _random_candidates(generator, most=30)
        places = torch.rand(*candidates.kind.shape, 2, generator=generator) * 15
        # On whole cells many candidates are equally far from a joint.
        candidates = candidates._replace(xy=places.round() if seed % 2 else places)
        people = torch.randint(0, 7, (len(places),), generator=generator).tolist()
        targets = make_targets(people, seed, ignored_rows=0)
        targets = targets._replace(areas=targets.areas * 2, joints=targets.joints.round())
        labels = assign(candidates, targets)
        assert labels.equal(assign_by_edges(candidates, targets))
        assigned += int((labels >= 0).sum())
    assert assigned > 3 * BATCHES


def test_the_same_gradients() -> None:
    generator = torch.Generator().manual_seed(9)
    for seed in range(20):
        grouping = spread_grouping(seed, hidden=HIDDEN)
        candidates = _random_candidates(generator, most=20)
        labels = _labels(candidates, generator)
        embedding = _embedding(candidates, 1, False, generator).requires_grad_()
        graph = keypoint_graph(candidates, grouping.rule_JJ)
        ours = grouping.cluster(embedding, graph, candidates, labels)
        listed = cluster_by_edges(grouping, embedding.flatten(0, 1), candidates, labels)
        if not ours.rounds[0].edges.logit.numel():
            continue
        loss = torch.cat([each.edges.logit for each in ours.rounds]).square().sum()
        other = torch.cat([each.logit for each in listed.rounds]).square().sum()
        (gradient,) = torch.autograd.grad(loss, embedding)
        (expected,) = torch.autograd.grad(other, embedding)
        torch.testing.assert_close(gradient, expected)
