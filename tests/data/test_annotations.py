"""pipeline.data.annotations: who is a person, what is ignored, and every contradiction by its reason."""

import json
from typing import Any

import pytest

from hgg.skeleton import NUM_JOINTS
from pipeline.data.annotations import people_and_ignored
from pipeline.data.regions import to_mask
from pipeline.data.rejects import BadData
from tests.cases.tiny_coco import TinyCoco

WIDTH, HEIGHT = 64, 48


def read(*annotations: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    people, ignore = people_and_ignored([json.dumps(a) for a in annotations], WIDTH, HEIGHT)
    return people, to_mask(ignore)


def test_a_person_is_kept_and_not_ignored() -> None:
    person = TinyCoco().add_person(1, x=4)
    people, ignored = read(person)
    assert people == [
        {
            "annotation_id": person["id"],
            "keypoints": [6, 9, 2, 10, 21.5, 1] + [0] * 45,
            "box": [4, 5, 10, 20],
            "area": 100.0,
        }
    ]
    assert ignored.shape == (HEIGHT, WIDTH)
    assert not ignored.any()


def test_crowds_and_people_without_labelled_joints_are_ignored_together() -> None:
    coco = TinyCoco()
    crowd_counts = [HEIGHT * 60, HEIGHT * 4]  # the last four columns
    crowd = coco.add_person(1, iscrowd=1, segmentation={"size": [HEIGHT, WIDTH], "counts": crowd_counts})
    people, ignored = read(coco.add_person(1), coco.add_unlabelled(1), crowd)
    assert len(people) == 1
    assert ignored[:4, :8].all()  # the box of the person without joints
    assert ignored[:, 60:].all()
    assert ignored.sum() == 4 * 8 + 4 * HEIGHT


def test_a_crowd_needs_no_keypoints() -> None:
    crowd = TinyCoco().add_person(1, iscrowd=1)
    for field in ("keypoints", "num_keypoints", "area"):
        del crowd[field]
    people, ignored = read(crowd)
    assert people == []
    assert ignored.sum() == 10 * 20


def test_a_box_may_reach_a_pixel_outside() -> None:
    people, _ = read(TinyCoco().add_person(1, bbox=[-0.5, 5, WIDTH + 1.4, 20]))
    assert len(people) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoints": [1, 2, 2] * 5}, "keypoints_length"),
        ({"keypoints": []}, "keypoints_length"),
        ({"keypoints": [[1, 2, 2]] * NUM_JOINTS}, "keypoints_length"),
        ({"keypoints": "many"}, "not_a_number"),
        ({"keypoints": [float("nan"), 9, 2] + [10, 21, 1] + [0] * 45}, "not_a_number"),
        ({"num_keypoints": 3}, "num_keypoints"),
        ({"num_keypoints": 0}, "num_keypoints"),
        ({"keypoints": [0] * 51}, "num_keypoints"),
        ({"bbox": [-3, 5, 10, 20]}, "box_outside"),
        ({"bbox": [60, 5, 10, 20]}, "box_outside"),
        ({"bbox": [4, 5, 10, 60]}, "box_outside"),
        ({"bbox": [4, 5, -1, 20]}, "box_outside"),
        ({"bbox": [4, 5, 10]}, "box_outside"),
        ({"bbox": [4, 5, None, 20]}, "not_a_number"),
        ({"area": 0}, "area"),
        ({"area": -2.0}, "area"),
        ({"area": [4]}, "area"),
        ({"area": float("inf")}, "not_a_number"),
    ],
)
def test_contradictions_of_people(changes: dict[str, Any], reason: str) -> None:
    person = TinyCoco().add_person(1, **changes)
    with pytest.raises(BadData) as caught:
        read(person)
    assert caught.value.reason == reason
    assert f"annotation {person['id']}: " in caught.value.detail


@pytest.mark.parametrize("field", ["keypoints", "num_keypoints", "bbox", "area"])
def test_missing_fields_of_people(field: str) -> None:
    person = TinyCoco().add_person(1)
    del person[field]
    with pytest.raises(BadData, match="missing_field.*" + field):
        read(person)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [60, 5, 10, 20]}, "box_outside"),
        ({"segmentation": [[1, 2, 3, 4]]}, "segmentation"),
        ({"segmentation": {"size": [1, 1], "counts": [1]}}, "segmentation"),
    ],
)
def test_contradictions_of_what_is_ignored(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadData) as caught:
        read(TinyCoco().add_unlabelled(1, **changes))
    assert caught.value.reason == reason


def test_the_polygon_of_a_labelled_person_is_not_needed() -> None:
    assert len(read(TinyCoco().add_person(1, segmentation=[[1, 2]]))[0]) == 1
