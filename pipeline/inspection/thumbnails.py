"""Small pictures with labels on them, as the page holds them."""

from collections.abc import Sequence

import cv2
import numpy as np

from hgg.draw import draw_poses
from hgg.pictures import encode_jpeg
from hgg.poses import Poses
from hgg.skeleton import Skeleton
from pipeline.inspection.suspects import Person

SIDE = 320  # pixels of the longer side
QUALITY = 80
AROUND = 0.25  # of a person's size, shown on each side of a suspect
LEAST_AROUND = 16.0  # pixels
BOX, DOUBTED = (200, 200, 200), (255, 40, 40)


def whole(
    picture: np.ndarray, people: Sequence[Person], boxes: Sequence[np.ndarray], skeleton: Skeleton
) -> bytes:
    """A picture with all its people, and the boxes of those without joints, as JPEG."""
    scale = SIDE / max(picture.shape[:2])
    small = _resized(picture, scale)
    for box in boxes:
        _draw_box(small, box, scale, BOX)
    return encode_jpeg(_with_people(small, people, scale, skeleton), QUALITY)


def part(picture: np.ndarray, people: Sequence[Person], joints: Sequence[int], skeleton: Skeleton) -> bytes:
    """What is around some people, with their boxes, and a ring around each of some joints, as JPEG."""
    low, high = _around(people, picture.shape[1], picture.shape[0])
    cut = picture[low[1] : high[1], low[0] : high[0]]
    scale = SIDE / max(cut.shape[:2])
    small = _resized(cut, scale)
    moved = [each._replace(joints=each.joints - [*low, 0], box=each.box - [*low, 0, 0]) for each in people]
    for person in moved:
        _draw_box(small, person.box, scale, BOX)
    drawn = _with_people(small, moved, scale, skeleton)
    for person in moved:
        for x, y, flag in person.joints[list(joints)]:
            if flag > 0:
                centre = tuple(np.clip(np.round(scale * np.array([x, y])), -9999, 9999).astype(int).tolist())
                cv2.circle(drawn, centre, 9, DOUBTED, 2, cv2.LINE_AA)
    return encode_jpeg(drawn, QUALITY)


def _around(people: Sequence[Person], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the part of a picture that holds boxes and joints, as far as they are in it."""
    corners = [each.box[:2] for each in people] + [each.box[:2] + each.box[2:] for each in people]
    corners += [joint[:2] for each in people for joint in each.joints if joint[2] > 0]
    inside = np.clip(np.array(corners), 0, [width, height])
    margin = max(LEAST_AROUND, AROUND * float(np.ptp(inside, axis=0).max()))
    low = np.maximum(np.floor(inside.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(inside.max(axis=0) + margin), [width, height]).astype(int)
    return np.minimum(low, [width - 1, height - 1]), np.maximum(high, low + 1)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    size = tuple(max(1, round(scale * side)) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _draw_box(canvas: np.ndarray, box: np.ndarray, scale: float, colour: tuple[int, int, int]) -> None:
    x, y, width, height = np.clip(scale * box, -9999, 9999).round().astype(int).tolist()
    cv2.rectangle(canvas, (x, y), (x + width, y + height), colour, 1, cv2.LINE_AA)


def _with_people(small: np.ndarray, people: Sequence[Person], scale: float, skeleton: Skeleton) -> np.ndarray:
    if not people:
        return small
    keypoints_PJ3 = np.stack([each.joints for each in people]).astype(np.float32)
    keypoints_PJ3[..., :2] *= scale
    keypoints_PJ3[..., 2] = keypoints_PJ3[..., 2] > 0
    poses = Poses(keypoints_PJ3, np.ones(len(people), np.float32))
    return draw_poses(small, poses, long_side=1, min_joints=1, scores=False, skeleton=skeleton)
