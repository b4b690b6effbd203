"""What drawing promises: who is drawn, in which colour, where, and that any input is survived."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from hgg.draw import COLOURS, TITLE_HEIGHT, colours_like, draw_poses, side_by_side, stacked
from hgg.poses import Poses
from hgg.skeleton import NUM_JOINTS


def _person(x: float, y: float, joints: int = NUM_JOINTS, size: float = 30.0) -> np.ndarray:
    """Joints down a zigzag line from (x, y); the last ones missing."""
    keypoints = np.zeros((NUM_JOINTS, 3), np.float32)
    for joint in range(joints):
        keypoints[joint] = (x + size * (joint % 2), y + size * joint / NUM_JOINTS * 3, 0.9)
    return keypoints


def _poses(*people: np.ndarray) -> Poses:
    score = np.linspace(0.9, 0.5, len(people)).astype(np.float32)
    return Poses(np.array(people, np.float32).reshape(-1, NUM_JOINTS, 3), score)


def _has(image: np.ndarray, colour: int) -> bool:
    return bool((image == COLOURS[colour]).all(-1).any())


IMAGE = np.full((200, 300, 3), 128, np.uint8)


def test_each_person_has_its_colour_at_its_joints_and_the_image_stays_as_it_was() -> None:
    before = IMAGE.copy()
    drawn = draw_poses(IMAGE, _poses(_person(20, 60), _person(200, 60)), long_side=300)
    np.testing.assert_array_equal(IMAGE, before)
    assert drawn.shape == IMAGE.shape
    assert tuple(drawn[60, 20]) == COLOURS[0]
    assert tuple(drawn[60, 200]) == COLOURS[1]
    recoloured = draw_poses(IMAGE, _poses(_person(20, 60)), long_side=300, colours=[4])
    assert tuple(recoloured[60, 20]) == COLOURS[4]


def test_small_images_are_enlarged_and_joints_move_with_them() -> None:
    drawn = draw_poses(IMAGE, _poses(_person(20, 60)), long_side=600)
    assert drawn.shape == (400, 600, 3)
    assert tuple(drawn[120, 40]) == COLOURS[0]


def test_unlikely_joints_and_people_of_few_joints_are_left_out() -> None:
    faint = _person(200, 60)
    faint[:, 2] = 0.05
    drawn = draw_poses(IMAGE, _poses(_person(20, 60, joints=2), faint), long_side=300)
    np.testing.assert_array_equal(drawn, IMAGE)
    drawn = draw_poses(
        IMAGE, _poses(_person(20, 60, joints=2), faint), long_side=300, min_joint=0, min_joints=2
    )
    assert _has(drawn, 0)
    assert _has(drawn, 1)


def test_people_below_the_smallest_score_are_not_drawn() -> None:
    joints = np.zeros((NUM_JOINTS, 3), np.float32)
    joints[:4] = [[10, 10, 0.9], [30, 10, 0.9], [10, 30, 0.9], [30, 30, 0.9]]
    stray = Poses(joints[None], np.array([0.04], np.float32))
    nobody = Poses(joints[None][:0], np.array([], np.float32))
    assert (draw_poses(IMAGE, stray) == draw_poses(IMAGE, nobody)).all()
    assert (draw_poses(IMAGE, stray, min_score=0.03) != draw_poses(IMAGE, nobody)).any()


def test_scores_can_be_left_out() -> None:
    poses = _poses(_person(20, 60))
    assert (draw_poses(IMAGE, poses) != draw_poses(IMAGE, poses, scores=False)).any()


def test_nobody_and_somebody_far_outside() -> None:
    np.testing.assert_array_equal(draw_poses(IMAGE, _poses(), long_side=300), IMAGE)
    far = _person(20, 60)
    far[3] = (1e30, -1e30, 0.9)
    assert _has(draw_poses(IMAGE, _poses(far), long_side=300), 0)


def test_found_people_take_the_colour_of_the_nearest_true_one() -> None:
    truth = _poses(_person(20, 60), _person(200, 60))
    found = _poses(_person(198, 62), _person(22, 58, joints=5), _person(100, 0))
    assert colours_like(found, truth) == [1, 0, 2]
    assert colours_like(_poses(), truth) == []
    assert colours_like(found, _poses()) == [0, 1, 2]


def test_panels_keep_their_pixels_under_a_title() -> None:
    row = side_by_side([("one", IMAGE), ("two", IMAGE)])
    assert row.shape == (200 + TITLE_HEIGHT, 600, 3)
    np.testing.assert_array_equal(row[TITLE_HEIGHT:, 300:], IMAGE)
    assert stacked([row, IMAGE]).shape[1] == 300


# Machado, Oliveira and Fernandes (2009): linear RGB as seen without the middle, or the long, cones.
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
]
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deutan", "protan"])
def test_colours_are_told_apart_with_red_green_blindness(seen: np.ndarray) -> None:
    linear = (np.array(COLOURS) / 255) ** 2.2
    light = (np.array(seen) @ linear.T).T.clip(0, 1) ** (1 / 2.2)
    lab = cv2.cvtColor(light.astype(np.float32)[None], cv2.COLOR_RGB2Lab)[0]
    # CIE 1976: 2.3 is just noticeable side by side; thin lines on a photograph need several times that.
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(lab, 2)) > 15
