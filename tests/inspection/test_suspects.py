"""Each rule on a person who deserves it, and on one who does not."""

import numpy as np
import pytest

from hgg.skeleton import COCO, skeleton_of
from hgg.skeleton_file import SkeletonFile
from pipeline.inspection.suspects import SEVERITIES, Person, Suspect, suspects
from tests.benchmarks.crowds import STANDING

SIZE = (400, 400)


def _standing(annotation: int = 1, x: float = 200.0) -> Person:
    """Upright and seen from the front, 200 pixels high."""
    joints = np.concatenate([STANDING * 200 + [x, 100], np.full((17, 1), 2.0)], axis=1)
    low, high = joints[:, :2].min(axis=0), joints[:, :2].max(axis=0)
    return Person(annotation, joints, np.concatenate([low, high - low]), 8000.0)


def _found(*people: Person, empty: tuple[Person, ...] = ()) -> list[Suspect]:
    return suspects(people, empty, SIZE, COCO)


def _swapped(person: Person, *joints: str) -> Person:
    order = list(range(17))
    for joint in joints:
        left, right = (COCO.names.index(f"{side}_{joint}") for side in ("left", "right"))
        order[left], order[right] = right, left
    return person._replace(joints=person.joints[order])


def test_people_as_they_stand_are_not_doubted() -> None:
    assert _found(_standing(1, 100), _standing(2, 250)) == []
    behind = _standing()._replace(joints=_standing().joints[list(COCO.flip_index)])
    assert _found(behind) == []


@pytest.mark.parametrize("joint", ["wrist", "ankle", "knee", "elbow"])
def test_a_limb_s_end_on_the_wrong_side(joint: str) -> None:
    apart = _standing()
    for side, sign in (("left", 1), ("right", -1)):  # arms and legs spread, so that it shows
        for name, wide in (("elbow", 40), ("wrist", 80), ("knee", 40), ("ankle", 60)):
            apart.joints[COCO.names.index(f"{side}_{name}"), 0] += sign * wide
    assert _found(apart) == []
    (found,) = _found(_swapped(apart, joint))
    assert found.kind == "left and right exchanged?"
    assert f"left_{joint}" in found.text
    assert found.joints == tuple(COCO.names.index(f"{side}_{joint}") for side in ("left", "right"))


def test_shoulders_one_way_and_hips_the_other() -> None:
    texts = [found.text for found in _found(_swapped(_standing(), "hip", "knee", "ankle"))]
    assert any(
        "left_shoulder, right_shoulder are the other way round than left_hip, right_hip" in t for t in texts
    )


def test_joints_outside_of_box_and_picture() -> None:
    shifted = _standing()
    shifted.joints[0, :2] = (390, 390)
    (found,) = [each for each in _found(shifted) if "box" in each.kind]
    assert (found.severity, found.joints) == ("doubtful", (0,))
    shares = _standing()._replace(joints=_standing().joints * [1 / 400, 1 / 400, 1])
    kinds = {each.kind: each.severity for each in _found(shares)}
    assert kinds["joints far outside of their box"] == "wrong"
    out = _standing(x=395)
    assert {each.kind for each in _found(out)} == {"joints outside of the picture"}


def test_joints_at_one_place() -> None:
    zeros = _standing()
    zeros.joints[[1, 2, 3], :2] = zeros.joints[0, :2]
    found = [each for each in _found(zeros) if each.kind == "joints at one place"]
    assert [each.joints for each in found] == [(0, 1, 2, 3)]
    unlabelled = _standing()
    unlabelled.joints[[1, 2, 3]] = 0
    assert _found(unlabelled) == []


def test_one_person_labelled_twice_and_a_box_alone() -> None:
    (found,) = _found(_standing(1), _standing(2, 201))
    assert (found.severity, found.kind) == ("wrong", "one person labelled twice")
    assert [person.annotation for person in found.people] == [1, 2]
    box = Person(0, np.zeros((17, 3)), np.array([1.0, 2, 30, 40]), 0.0)
    (found,) = _found(_standing(), empty=(box,))
    assert (found.severity, found.text[:26]) == ("note", "a box of 30 x 40 pixels: n")


def test_the_worst_come_first_and_any_skeleton_will_do() -> None:
    ox = skeleton_of(SkeletonFile(names=("nose", "l_ear", "r_ear")))
    person = Person(1, np.array([[5.0, 5, 2], [900, 5, 2], [5, 5, 2]]), np.array([0.0, 0, 20, 20]), 100.0)
    found = suspects([person], [person._replace(joints=np.zeros((3, 3)))], SIZE, ox)
    places = [SEVERITIES.index(each.severity) for each in found]
    assert places == sorted(places)
    assert len(found) >= 3
