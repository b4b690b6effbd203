"""Grouping by the ground truth."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgg.clusters import LEFT_OUT
from hgg.oracle import group_oracle
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets
from tests.cases.candidates import Row, check_people, make_candidates, people_of, random_rows

SIDE = 16


def _targets(*people: dict[int, tuple[float, float]], area: float = 400.0) -> Targets:
    """One image; each person gives the labelled joints by type. No ignore region."""
    joints = torch.zeros(1, len(people), NUM_JOINTS, 3)
    for person, points in enumerate(people):
        for kind, (x, y) in points.items():
            joints[0, person, kind] = torch.tensor([x, y, 1.0])
    return Targets(
        heatmaps=torch.zeros(1, NUM_JOINTS, SIDE, SIDE),
        mask=torch.ones(1, SIDE, SIDE),
        joints=joints,
        areas=torch.full((1, len(people)), area),
    )


def test_candidates_go_to_the_person_whose_joint_is_there_whatever_their_tag() -> None:
    rows = [(0, 0.9, 3.0, 2, 2), (0, 0.8, 3.0, 12, 2), (9, 0.7, 3.0, 12, 9), (9, 0.6, 3.0, 2, 9)]
    targets = _targets({0: (12.0, 2.0), 9: (12.0, 9.0)}, {0: (2.0, 2.0), 9: (2.0, 9.0)})
    clusters = group_oracle(make_candidates(rows), targets)
    assert clusters.member.tolist() == [[0, 1, 1, 0]]
    assert clusters.confidence.tolist() == [[1.0] * 4]


def test_background_duplicates_and_padding_are_left_out() -> None:
    rows = [(9, 0.9, 0.0, 2, 2), (9, 0.8, 0.0, 3, 2), (9, 0.7, 0.0, 14, 14), (5, 0.6, 0.0, 2, 2)]
    targets = _targets({9: (2.0, 2.0)})
    clusters = group_oracle(make_candidates(rows), targets)
    assert clusters.member.tolist() == [[0, LEFT_OUT, LEFT_OUT, LEFT_OUT]]


def test_an_image_without_people_and_one_without_candidates() -> None:
    nobody = _targets()
    assert group_oracle(make_candidates([(0, 0.9, 0.0, 2, 2)]), nobody).member.tolist() == [[LEFT_OUT]]
    somebody = _targets({0: (2.0, 2.0)})
    assert group_oracle(make_candidates([]), somebody).member.tolist() == [[LEFT_OUT]]


@settings(max_examples=60, deadline=None)
@given(random_rows(), st.integers(0, 99))
def test_every_grouping_is_valid_and_independent_of_order(rows: list[Row], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    joints = torch.rand(1, 4, NUM_JOINTS, 3, generator=generator)
    joints[..., :2] *= SIDE
    joints[..., 2] = (joints[..., 2] > 0.3).float()
    targets = _targets({}, {}, {}, {}, area=900.0)._replace(joints=joints)
    candidates = make_candidates(rows)
    clusters = group_oracle(candidates, targets)
    check_people(candidates, clusters)
    order = torch.randperm(len(rows), generator=generator).tolist()
    shuffled = people_of(group_oracle(make_candidates([rows[index] for index in order]), targets))
    assert {frozenset(order[index] for index in person) for person in shuffled} == people_of(clusters)
