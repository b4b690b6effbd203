"""What must hold of every grouping, on random candidates and random weights (hypothesis).

In float64, so that sums that another order rounds differently decide no tie.
"""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hgg.candidates import Candidates
from hgg.clusters import Clusters
from hgg.hierarchy import Hierarchy
from hgg.labels import BACKGROUND, IGNORED
from hgg.model import Grouping
from tests.cases.candidates import Row, check_people, make_candidates, people_of, random_rows
from tests.cases.core import spread_grouping

ROUNDING = 1e-9  # of a logit in float64
CUTS = st.sampled_from([0.0, 0.3, 0.5, 0.7])


def _doubles(*images: list[Row]) -> Candidates:
    candidates = make_candidates(*images)
    return candidates._replace(
        xy=candidates.xy.double(), tag=candidates.tag.double(), visual=candidates.visual.double()
    )


def _clusters(hierarchy: Hierarchy) -> Clusters:
    return Clusters(hierarchy.member, torch.ones_like(hierarchy.member, dtype=torch.float32))


@torch.no_grad()
def _run(grouping: Grouping, *images: list[Row]) -> Hierarchy:
    return grouping(_doubles(*images))


def _tied(hierarchy: Hierarchy) -> bool:
    """Whether in some round two edges of one macro-node have the same logit.

    Random weights do that: where all ReLUs of a layer of the edge discriminator are off, logits are equal.
    """
    for each in hierarchy.rounds:
        ends_2E = each.pairs
        shared_EE = (ends_2E[:, None, :, None] == ends_2E[None, :, None, :]).flatten(0, 1).any(dim=0)
        equal_EE = (each.edges.logit[:, None] - each.edges.logit).abs() < ROUNDING
        if (shared_EE & equal_EE).triu(diagonal=1).any():
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(random_rows(), random_rows(), st.integers(0, 999), CUTS)
def test_people_are_valid_and_rounds_end(first: list[Row], second: list[Row], seed: int, cut: float) -> None:
    hierarchy = _run(spread_grouping(seed, cut=cut, max_rounds=30), first, second)
    # Each id is the smallest index of its person, no type is twice in a person, padding is in none;
    # a candidate has one id, so it is in one person.
    check_people(make_candidates(first, second), _clusters(hierarchy))
    people = [people_of(_clusters(hierarchy), image) for image in (0, 1)]
    assert [sum(map(len, image)) for image in people] == [len(first), len(second)]
    # Every round but the last merges, and each merge leaves one macro-node less.
    merged = [int(r.merged.sum()) for r in hierarchy.rounds]
    assert all(merged[:-1])
    assert sum(merged) == len(first) + len(second) - len(people[0]) - len(people[1])
    assert len(hierarchy.rounds) <= max(len(first), len(second), 1)


@settings(max_examples=60, deadline=None)
@given(random_rows(), st.integers(0, 999), st.integers(1, 3))
def test_rounds_never_exceed_their_limit(rows: list[Row], seed: int, most: int) -> None:
    hierarchy = _run(spread_grouping(seed, cut=0.0, max_rounds=most), rows)
    assert len(hierarchy.rounds) <= most
    check_people(make_candidates(rows), _clusters(hierarchy))


@settings(max_examples=60, deadline=None)
@given(random_rows(), st.integers(0, 999), CUTS)
def test_the_order_of_the_candidates_does_not_matter(rows: list[Row], seed: int, cut: float) -> None:
    """Of candidates that the proximity tells apart: between equal ones the matching takes the first."""
    grouping = spread_grouping(seed, cut=cut)
    order = torch.randperm(len(rows)).tolist()
    hierarchy = _run(grouping, rows)
    assume(not _tied(hierarchy))
    expected = people_of(_clusters(hierarchy))
    shuffled = people_of(_clusters(_run(grouping, [rows[index] for index in order])))
    assert {frozenset(order[index] for index in person) for person in shuffled} == expected


@settings(max_examples=60, deadline=None)
@given(random_rows(), random_rows(), st.integers(0, 999), CUTS)
def test_an_image_does_not_depend_on_its_neighbours(
    first: list[Row], second: list[Row], seed: int, cut: float
) -> None:
    grouping = spread_grouping(seed, cut=cut)
    together, alone = _run(grouping, first, second), _run(grouping, second)
    assert people_of(_clusters(together), 1) == people_of(_clusters(alone))


@settings(max_examples=60, deadline=None)
@given(random_rows(), st.data(), st.integers(0, 999))
def test_taught_merges_give_the_labelled_people(rows: list[Row], data: st.DataObject, seed: int) -> None:
    """Each person's labelled candidates end together, and nothing else merges."""
    labels: list[int] = []
    for index, row in enumerate(rows):
        taken = {label for label, other in zip(labels, rows[:index], strict=True) if other[0] == row[0]}
        free = [label for label in (0, 1, 2) if label not in taken]
        labels.append(data.draw(st.sampled_from([BACKGROUND, IGNORED, *free])))
    candidates = _doubles(rows)
    label_BN = torch.full_like(candidates.kind, BACKGROUND)
    label_BN[0, : len(rows)] = torch.tensor(labels, dtype=torch.int64)
    with torch.no_grad():
        hierarchy = spread_grouping(seed)(candidates, label_BN, torch.tensor([True]))
    parts = [
        index if label < 0 else -1 - label for index, label in enumerate(labels)
    ]  # marked ones stay alone
    expected = {frozenset(i for i, part in enumerate(parts) if part == one) for one in set(parts)}
    assert people_of(_clusters(hierarchy)) == expected
    assert hierarchy.final.target[hierarchy.of_at_least(2)].all()
