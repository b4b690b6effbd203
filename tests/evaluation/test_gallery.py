"""Which images an evaluation draws, and what is on a picture."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hgg.skeleton import NUM_JOINTS
from pipeline.evaluation.gallery import PANEL_SIDE, Gallery
from pipeline.evaluation.truth import overlap, true_poses

IMAGE = np.full((60, 80, 3), 128, np.uint8)


def _record(image_id: int, *boxes: tuple[float, float, float, float]) -> dict[str, Any]:
    """A record of people with joints along the diagonal of their boxes, the last three not labelled."""
    people = []
    for x, y, width, height in boxes:
        share = np.linspace(0, 1, NUM_JOINTS)
        flags = np.where(np.arange(NUM_JOINTS) < NUM_JOINTS - 3, 2, 0)
        keypoints = np.stack((x + share * width, y + share * height, flags), axis=1) * (flags > 0)[:, None]
        people.append({"box": [x, y, width, height], "keypoints": keypoints.ravel().tolist()})
    return {"image_id": image_id, "people": people}


def _offer(gallery: Gallery, record: dict[str, Any], *groupings: str) -> None:
    gallery.offer(record, IMAGE, {grouping: true_poses(record) for grouping in groupings})


def test_overlap_is_the_sum_of_pairwise_iou() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [100, 100, 10, 10]], float)
    assert overlap(boxes) == pytest.approx(50 / 150)
    assert overlap(boxes[:1]) == overlap(boxes[:0]) == 0.0


def test_true_people_have_labelled_joints_alone() -> None:
    poses = true_poses(_record(1, (10, 10, 20, 40)))
    assert poses.keypoints[0, :, 2].tolist() == [1.0] * 14 + [0.0] * 3
    assert true_poses(_record(1)).keypoints.shape == (0, NUM_JOINTS, 3)


def test_the_most_crowded_images_are_kept_and_drawn(tmp_path: Path) -> None:
    gallery = Gallery(2)
    _offer(gallery, _record(1), "ae", "hgg", "oracle")
    _offer(gallery, _record(2, (10, 10, 20, 40), (15, 10, 20, 40)), "ae", "hgg", "oracle")
    _offer(gallery, _record(3, (10, 10, 20, 40)), "ae", "hgg", "oracle")
    _offer(gallery, _record(4, (10, 10, 20, 40), (12, 10, 20, 40)), "ae", "hgg", "oracle")
    assert [shown.image_id for shown in gallery.shown] == [4, 2]
    paths = gallery.draw(tmp_path / "pictures")
    assert [path.name for path in paths] == ["4.png", "2.png", "picture.png"]
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths)
    row, both = (cv2.imread(str(path)) for path in (paths[0], paths[2]))
    assert row is not None
    assert both is not None
    assert row.shape[1] == both.shape[1] == 3 * PANEL_SIDE  # truth, AE, HGG; the oracle is not drawn
    assert both.shape[0] == 2 * row.shape[0]


def test_only_groupings_that_were_made_are_drawn_and_always_in_one_order(tmp_path: Path) -> None:
    record = _record(1, (10, 10, 20, 40))
    pictures = []
    for groupings in (("ae",), ("hgg", "ae"), ("ae", "hgg")):
        gallery = Gallery(1)
        _offer(gallery, record, *groupings)
        picture = cv2.imread(str(gallery.draw(tmp_path)[0]))
        assert picture is not None
        pictures.append(picture)
    assert pictures[0].shape[1] == 2 * PANEL_SIDE
    np.testing.assert_array_equal(pictures[1], pictures[2])


def test_a_gallery_of_none_draws_nothing(tmp_path: Path) -> None:
    gallery = Gallery(0)
    _offer(gallery, _record(1, (10, 10, 20, 40)), "ae")
    assert gallery.draw(tmp_path / "pictures") == []
    assert not list(tmp_path.iterdir())
