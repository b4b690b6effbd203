"""AE's greedy grouping: its steps by hand, and what must hold for every input."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgg.associative import group_associative
from hgg.clusters import LEFT_OUT
from hgg.skeleton import JOINTS, NUM_JOINTS
from tests.cases.candidates import Row, check_people, make_candidates, people_of, random_rows

NOSE, SHOULDER, HIP, ELBOW, WRIST = (
    JOINTS.index(name) for name in ("nose", "left_shoulder", "left_hip", "left_elbow", "left_wrist")
)


def _group(rows: list[Row], tag_threshold: float = 1.0) -> set[frozenset[int]]:
    return people_of(group_associative(make_candidates(rows), tag_threshold))


def test_two_people_by_tag() -> None:
    rows = [(NOSE, 0.9, 0.0, 1, 1), (NOSE, 0.8, 5.0, 9, 1), (HIP, 0.7, 4.8, 9, 9), (HIP, 0.6, 0.3, 1, 9)]
    assert _group(rows) == {frozenset({0, 3}), frozenset({1, 2})}


def test_threshold_is_on_the_unrounded_distance() -> None:
    near = [(NOSE, 0.9, 0.0, 1, 1), (HIP, 0.9, 0.99, 1, 9)]
    far = [(NOSE, 0.9, 0.0, 1, 1), (HIP, 0.9, 1.0, 1, 9)]
    assert _group(near) == {frozenset({0, 1})}
    assert _group(far) == {frozenset({0}), frozenset({1})}
    assert _group(far, tag_threshold=1.1) == {frozenset({0, 1})}


def test_mean_tag_runs_along() -> None:
    # The hip at 1.2 is within 1 of the mean of 0 and 0.8, though not of the nose alone.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (SHOULDER, 0.9, 0.8, 1, 4), (HIP, 0.9, 1.2, 1, 9)]
    assert _group(rows) == {frozenset({0, 1, 2})}
    assert _group([rows[0], rows[2]]) == {frozenset({0}), frozenset({1})}


def test_hips_are_visited_before_elbows() -> None:
    # In COCO's order the elbow at 0.9 would come first and draw the mean up to 0.45, which keeps the hip out.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (ELBOW, 0.9, 0.9, 1, 4), (HIP, 0.9, -0.6, 1, 9)]
    # After the hip the mean is -0.3, and the elbow is 1.2 away from it.
    assert _group(rows) == {frozenset({0, 2}), frozenset({1})}


def test_among_near_candidates_the_higher_score_wins() -> None:
    # Both hips round to distance 0; cost -0.9 for the one at 0.4, -0.2 for the one at 0.1.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (HIP, 0.2, 0.1, 1, 9), (HIP, 0.9, 0.4, 5, 9)]
    assert _group(rows) == {frozenset({0, 2}), frozenset({1})}


def test_a_rounded_unit_of_distance_outweighs_every_score() -> None:
    # Costs -0.2 (distance 0.1) and 100 - 0.9 (distance 0.6).
    rows = [(NOSE, 0.9, 0.0, 1, 1), (HIP, 0.2, 0.1, 1, 9), (HIP, 0.9, 0.6, 5, 9)]
    assert _group(rows) == {frozenset({0, 1}), frozenset({2})}


def test_matching_minimises_the_sum() -> None:
    # The hip at 0.48 is nearest to person 1, but the hip at 1.2 has no other person: the sum decides.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (NOSE, 0.8, 0.95, 9, 1), (HIP, 0.9, 0.48, 1, 9), (HIP, 0.8, 1.2, 9, 9)]
    assert _group(rows) == {frozenset({0, 2}), frozenset({1, 3})}


def test_a_refused_match_starts_a_person_even_beside_a_free_one() -> None:
    # Matched to person 1 at a rounded distance of 2, refused at 1.6; person 0 is no better.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (NOSE, 0.8, 4.0, 9, 1), (HIP, 0.9, 2.4, 9, 9)]
    assert _group(rows) == {frozenset({0}), frozenset({1}), frozenset({2})}


def test_ties_of_rounded_distance_go_to_the_nearer_person() -> None:
    # All four rounded distances are 0, so AE's cost cannot tell the two matchings apart.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (NOSE, 0.8, 0.4, 9, 1), (HIP, 0.9, 0.35, 9, 9), (HIP, 0.8, 0.05, 1, 9)]
    assert _group(rows) == {frozenset({0, 3}), frozenset({1, 2})}


def test_equal_tags_of_one_type_stay_two_people() -> None:
    rows = [(NOSE, 0.9, 2.0, 1, 1), (NOSE, 0.8, 2.0, 9, 1), (HIP, 0.7, 2.0, 9, 9)]
    groups = _group(rows)
    assert len(groups) == 2
    assert sum(len(group) for group in groups) == 3


def test_forty_people_keep_all_their_joints() -> None:
    rows = [
        (kind, 0.9 - person / 100, 10.0 * person, person, kind)
        for kind in range(NUM_JOINTS)
        for person in range(40)
    ]
    assert {len(group) for group in _group(rows)} == {NUM_JOINTS}
    assert len(_group(rows)) == 40


def test_images_are_independent_and_padding_is_left_out() -> None:
    first, second = [(NOSE, 0.9, 0.0, 1, 1)], [(HIP, 0.9, 0.0, 1, 1), (WRIST, 0.5, 0.2, 3, 3)]
    clusters = group_associative(make_candidates(first, second, []), 1.0)
    assert clusters.member.tolist() == [[0, LEFT_OUT], [0, 0], [LEFT_OUT, LEFT_OUT]]
    assert torch.equal(clusters.confidence, torch.ones(3, 2))


@settings(max_examples=60, deadline=None)
@given(random_rows(), st.integers(0, 99))
def test_every_grouping_is_valid_and_independent_of_order(rows: list[Row], seed: int) -> None:
    candidates = make_candidates(rows)
    clusters = group_associative(candidates, 1.0)
    check_people(candidates, clusters)
    assert sum(len(person) for person in people_of(clusters)) == len(rows)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    shuffled = _group([rows[index] for index in order])
    assert {frozenset(order[index] for index in person) for person in shuffled} == people_of(clusters)


def test_tags_of_two_views_are_as_far_apart_as_their_root_mean_square() -> None:
    rows = [(NOSE, 0.9, 0.0, 1, 1), (HIP, 0.9, 0.0, 1, 9)]
    for second, threshold, together in (
        ((0.6, 0.8), 0.71, True),  # sqrt((0.36 + 0.64) / 2) = 0.7071
        ((0.6, 0.8), 0.70, False),
        ((0.0, 1.3), 1.0, True),  # 0.919, though one view alone would say no
        ((1.1, 1.1), 1.0, False),
    ):
        candidates = make_candidates(rows)._replace(tag=torch.tensor([[(0.0, 0.0), second]]))
        assert (len(people_of(group_associative(candidates, threshold))) == 1) == together


def test_the_mean_tag_runs_along_in_every_view() -> None:
    # Mean of the first two (0.4, 1.0); the hip is at 0.9 from it in both views, and at 1.36 from the nose.
    rows = [(NOSE, 0.9, 0.0, 1, 1), (SHOULDER, 0.9, 0.0, 1, 4), (HIP, 0.9, 0.0, 1, 9)]
    candidates = make_candidates(rows)._replace(tag=torch.tensor([[(0.0, 0.5), (0.8, 1.5), (1.3, 1.9)]]))
    assert people_of(group_associative(candidates, 1.0)) == {frozenset({0, 1, 2})}
    pair = make_candidates([rows[0], rows[2]])._replace(tag=candidates.tag[:, [0, 2]])
    assert len(people_of(group_associative(pair, 1.0))) == 2
