"""Who is left out as somebody who is there already: against pairs taken one by one, and what must hold."""

import math

import numpy as np
import pytest

from hgg.poses import LEAST, Poses
from hgg.skeleton import COCO, CROWDPOSE, Skeleton
from hgg.suppression import OFF, SMALLEST_AREA, said, suppressors, without


def _people(seed: int, people: int, skeleton: Skeleton = COCO) -> Poses:
    """Some people, and others who are nearly the same; some joints are missing."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 100, (people, skeleton.count, 3))
    for person in range(1, people, 2):
        noise = rng.normal(0, rng.choice([0.3, 3.0, 30.0]), keypoints[0, :, :2].shape)
        keypoints[person, :, :2] = keypoints[person - 1, :, :2] + noise
    keypoints[rng.random((people, skeleton.count)) < rng.choice([0.0, 0.3, 0.9])] = 0
    keypoints[rng.random((people, skeleton.count)) < 0.1, 2] = LEAST  # filled in, not believed
    score = np.sort(rng.random(people))[::-1]
    return Poses(keypoints.astype(np.float32), score.astype(np.float32))


def _oks(first: np.ndarray, second: np.ndarray, skeleton: Skeleton) -> float:
    """OKS of the second person, by its definition."""

    def area(person: np.ndarray) -> float:
        xs, ys = zip(*((float(x), float(y)) for x, y, value in person if value > LEAST), strict=True)
        return max((max(xs) - min(xs)) * (max(ys) - min(ys)), SMALLEST_AREA)

    both = [joint for joint in range(skeleton.count) if min(first[joint, 2], second[joint, 2]) > LEAST]
    if not both:
        return 0.0
    mean_area = (area(first) + area(second)) / 2
    terms = []
    for joint in both:
        x, y = (float(first[joint, axis]) - float(second[joint, axis]) for axis in (0, 1))
        terms.append(math.exp(-(x * x + y * y) / (2 * mean_area * (2 * skeleton.sigmas[joint]) ** 2)))
    return sum(terms) / sum(second[:, 2] > LEAST)


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=["coco", "crowdpose"])
@pytest.mark.parametrize("above", [0.3, 0.5, 0.9])
def test_it_is_greedy_by_score_over_all_pairs(above: float, skeleton: Skeleton) -> None:
    left_out = 0
    for seed in range(40):
        poses = _people(seed, 9, skeleton)
        expected = [-1] * 9
        for person in range(9):
            if expected[person] >= 0:
                continue
            for other in range(person + 1, 9):
                oks = _oks(poses.keypoints[person], poses.keypoints[other], skeleton)
                if expected[other] < 0 and oks > above:
                    expected[other] = person
        assert suppressors(poses, above, skeleton).tolist() == expected, seed
        left_out += sum(each >= 0 for each in expected)
    assert left_out > 5


def test_the_better_one_of_two_alike_stays_and_1_keeps_both() -> None:
    pose = np.random.default_rng(0).uniform(1, 50, (17, 3)).astype(np.float32)
    poses = Poses(np.stack([pose, pose, pose]), np.array([0.9, 0.8, 0.1], np.float32))
    assert suppressors(poses, 0.99, COCO).tolist() == [-1, 0, 0]
    assert without(poses, suppressors(poses, 0.99, COCO)).score.tolist() == [np.float32(0.9)]
    assert suppressors(poses, OFF, COCO).tolist() == [-1, -1, -1]


def test_who_is_left_out_leaves_out_nobody() -> None:
    """A chain: the second is like the first, the third like the second and not like the first."""
    first = np.random.default_rng(0).uniform(1, 100, (17, 3)).astype(np.float32)
    chain = [first, first + [4, 0, 0], first + [8, 0, 0]]
    poses = Poses(np.stack(chain).astype(np.float32), np.array([0.9, 0.8, 0.7], np.float32))
    oks = [_oks(chain[0], chain[1], COCO), _oks(chain[1], chain[2], COCO), _oks(chain[0], chain[2], COCO)]
    above = (oks[0] + oks[2]) / 2
    assert oks[0] > above < oks[1]
    assert suppressors(poses, above, COCO).tolist() == [-1, 0, -1]


def test_people_without_a_joint_in_common_stay_and_so_do_none_and_one() -> None:
    keypoints = np.zeros((2, 17, 3), np.float32)
    keypoints[0, 0] = keypoints[1, 1] = (5, 5, 1)
    poses = Poses(keypoints, np.array([0.5, 0.4], np.float32))
    assert suppressors(poses, 0.1, COCO).tolist() == [-1, -1]
    for people in (0, 1):
        assert (
            len(without(Poses(keypoints[:people], poses.score[:people]), np.full(people, -1)).score) == people
        )
        assert len(suppressors(Poses(keypoints[:people], poses.score[:people]), 0.1, COCO)) == people


def test_one_joint_in_common_makes_nobody_the_same() -> None:
    """Nor do joints that were filled in where the other one's are, and are not believed."""
    rng = np.random.default_rng(0)
    better, lower = rng.uniform(1, 100, (2, 17, 3)).astype(np.float32)
    better[5:] = 0
    lower[4] = better[4]
    poses = Poses(np.stack([better, lower]), np.array([0.9, 0.8], np.float32))
    assert suppressors(poses, 0.5, COCO).tolist() == [-1, -1]
    poses.keypoints[1, 5:] = 0  # now it has nothing but what the other one has
    poses.keypoints[1, :5] = better[:5]
    assert suppressors(poses, 0.5, COCO).tolist() == [-1, 0]
    poses.keypoints[1, :4, 2] = LEAST
    poses.keypoints[1, 4] = (90, 90, 1)
    assert suppressors(poses, 0.5, COCO).tolist() == [-1, -1]


def test_pixels_and_cells_say_the_same() -> None:
    poses = _people(3, 9)
    larger = Poses(poses.keypoints * np.array([4, 4, 1], np.float32), poses.score)
    assert suppressors(poses, 0.5, COCO).tolist() == suppressors(larger, 0.5, COCO).tolist()


def test_a_table_says_which_it_is() -> None:
    assert "OKS above 0.9 is left out" in said(0.9)
    assert said(OFF).startswith("Nobody is suppressed")
