"""What became of keypoints, by hand and as a property."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hgg.clusters import LEFT_OUT
from hgg.labels import BACKGROUND, IGNORED
from pipeline.metrics.fates import Fates, count_fates, fate_table


def _fates(labels: list[int], members: list[int], labelled: int) -> Fates:
    return count_fates(np.array(labels, dtype=np.int64), np.array(members, dtype=np.int64), labelled)


def test_the_truth_has_no_errors_but_the_detector_s() -> None:
    assert _fates([0, 0, 1, BACKGROUND, IGNORED], [0, 0, 2, LEFT_OUT, LEFT_OUT], 5) == Fates(5, 2, 3, 0, 0, 0)


def test_a_person_in_two_parts_is_split_where_the_smaller_part_is() -> None:
    assert _fates([0, 0, 0, 1, 1], [0, 0, 2, 3, 3], 5) == Fates(5, 0, 4, 1, 0, 0)


def test_a_keypoint_that_was_left_out_is_split_too() -> None:
    assert _fates([0, 0, 0], [0, 0, LEFT_OUT], 3) == Fates(3, 0, 2, 1, 0, 0)


def test_two_people_in_one_cluster_are_mixed() -> None:
    assert _fates([0, 0, 0, 1, 1], [0, 0, 0, 0, 0], 5) == Fates(5, 0, 3, 0, 2, 0)


def test_each_person_has_one_cluster_and_each_cluster_one_person() -> None:
    # Cluster 0 holds two of person 0 and three of person 1, cluster 5 one of person 1. Either pairing of
    # cluster 0 puts three right, (0, 1) with (5, nobody), or two and one, (0, 0) with (5, 1).
    fates = _fates([0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 5], 6)
    assert (fates.right, fates.split + fates.mixed) == (3, 3)
    # With one more in cluster 5 the second pairing is better.
    assert _fates([0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 5, 5], 7) == Fates(7, 0, 4, 0, 3, 0)


def test_background_counts_in_people_s_clusters_alone_and_ignored_ones_nowhere() -> None:
    labels = [0, BACKGROUND, IGNORED, BACKGROUND, BACKGROUND]
    assert _fates(labels, [0, 0, 0, 3, 3], 1) == Fates(1, 0, 1, 0, 0, 1)


def test_no_candidates() -> None:
    assert _fates([], [], 4) == Fates(4, 4, 0, 0, 0, 0)


def test_fates_add_up() -> None:
    assert Fates(5, 2, 3) + Fates(4, 1, 1, 1, 1, 7) == Fates(9, 3, 4, 1, 1, 7)


def test_the_table_has_numbers_and_shares() -> None:
    fates = {
        "ae": {"all": Fates(8, 2, 3, 2, 1, 4), "1 person": Fates()},
        "hgg": {"all": Fates(8, 2, 6, 0, 0, 0), "1 person": Fates()},
        "oracle": {"all": Fates(8, 2, 6), "1 person": Fates()},
    }
    lines = fate_table(fates).splitlines()
    assert lines[0].startswith(
        "| | keypoints | missing | AE right | AE split | AE mixed | AE background | HGG right"
    )
    assert lines[2] == (
        "| all | 8 | 2 (25.0%) | 3 (37.5%) | 2 (25.0%) | 1 (12.5%) | 4 (50.0%) | "
        "6 (75.0%) | 0 (0.0%) | 0 (0.0%) | 0 (0.0%) |"
    )
    assert lines[3] == "| 1 person | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |"


@given(st.lists(st.tuples(st.integers(-2, 3), st.integers(-1, 4)), max_size=20))
def test_every_labelled_keypoint_has_one_fate(rows: list[tuple[int, int]]) -> None:
    found = sum(label >= 0 for label, _ in rows)
    fates = _fates([label for label, _ in rows], [member for _, member in rows], found + 2)
    assert fates.keypoints == found + 2 == fates.missing + fates.right + fates.split + fates.mixed
    assert fates.missing == 2
    assert min(fates) >= 0
