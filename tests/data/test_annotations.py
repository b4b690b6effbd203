"""pipeline.data.annotations: who is a person, what is ignored, and every contradiction by its reason."""

import json
from typing import Any

import pytest

from hgg.skeleton import NUM_JOINTS
from pipeline.data.annotations import people_and_ignored
from pipeline.data.regions import to_mask
from pipeline.data.rejects import BadData
from pipeline.settings.formats import COCO_DIALECT, CROWDPOSE_LABELLING
from tests.cases.tiny_coco import TinyCoco

WIDTH, HEIGHT = 64, 48


def read(*annotations: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    labelled = people_and_ignored([json.dumps(a) for a in annotations], WIDTH, HEIGHT)
    return labelled.people, to_mask(labelled.ignore)


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
        ({"keypoints": [[1, 2]] * NUM_JOINTS}, "keypoints_length"),
        ({"keypoints": [[1, 2, 2]] * 5}, "keypoints_length"),
        ({"keypoints": "many"}, "not_a_number"),
        ({"keypoints": [float("nan"), 9, 2] + [10, 21, 1] + [0] * 45}, "not_a_number"),
        ({"keypoints": [1e39, 9, 2] + [10, 21, 1] + [0] * 45}, "out_of_range"),
        ({"iscrowd": 2}, "iscrowd"),
        ({"bbox": [64, 5, 10, 20]}, "box_outside"),
        ({"bbox": [-70, 5, 80, 20]}, "box_outside"),
        ({"bbox": [1e300, 5, 10, 20]}, "out_of_range"),
        ({"bbox": [4, 5, -1, 20]}, "box_outside"),
        ({"bbox": [4, 5, 10]}, "box_outside"),
        ({"bbox": [4, 5, None, 20]}, "not_a_number"),
        ({"area": 1e6}, "area"),
        ({"area": 0, "bbox": [4, 5, 0, 20]}, "area"),
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


def test_a_person_of_whom_only_one_joint_is_known_has_no_size() -> None:
    person = TinyCoco().add_person(1, keypoints=[6, 9, 2] + [0] * 48)
    for field in ("bbox", "area", "segmentation"):
        del person[field]
    with pytest.raises(BadData, match=r"missing_field.*no bbox, and neither segmentation nor joints"):
        read(person)


DERIVED: list[tuple[dict[str, Any], dict[str, Any], dict[str, int]]] = [
    ({"iscrowd": None}, {}, {"no_iscrowd": 1}),
    ({"num_keypoints": None}, {}, {"num_keypoints_counted": 1}),
    ({"num_keypoints": 1}, {}, {"num_keypoints_counted": 1}),
    ({"area": None}, {"area": 0.53 * 200}, {"area_from_box": 1}),
    ({"area": 0}, {"area": 0.53 * 200}, {"area_from_box": 1}),
    ({"area": None, "segmentation": [[4, 5, 14, 5, 4, 25]]}, {}, {"area_from_segmentation": 1}),
    ({"bbox": None}, {"bbox": [4, 5, 10, 20]}, {"box_from_segmentation": 1}),
    ({"bbox": None, "segmentation": None}, {"bbox": [6, 9, 4, 12.5]}, {"box_from_joints": 1}),
    ({"bbox": [-3, 5, 17, 20]}, {"bbox": [0, 5, 14, 20]}, {"box_clipped": 1}),
    ({"keypoints": [[6, 9, 2], [10, 21.5, 1]] + [[0, 0, 0]] * 15}, {}, {"keypoints_in_triples": 1}),
    ({"keypoints": [6, 9, 2, 10, 21.5, 1] + [None, None, 0] * 15}, {}, {"joints_null": 1}),
    ({"iscrowd": "0"}, {}, {}),
    ({"segmentation": [[]]}, {}, {}),
]


@pytest.mark.parametrize(("changes", "wanted", "counts"), DERIVED)
def test_what_can_be_told_from_the_rest_is_derived_and_counted(
    changes: dict[str, Any], wanted: dict[str, Any], counts: dict[str, int]
) -> None:
    person = {k: v for k, v in (TinyCoco().add_person(1) | changes).items() if v is not None}
    labelled = people_and_ignored([json.dumps(person)], WIDTH, HEIGHT)
    assert +labelled.counts == counts
    truth = TinyCoco().add_person(1)
    for field in ("keypoints", "num_keypoints", "bbox", "iscrowd"):
        assert labelled.truth[0][field] == wanted.get(field, truth[field])
    assert labelled.truth[0]["area"] == pytest.approx(wanted.get("area", 100.0), rel=0.15)
    assert labelled.people[0]["box"] == labelled.truth[0]["bbox"]


@pytest.mark.parametrize("changes", [{"keypoints": None}, {"keypoints": []}, {"keypoints": [0] * 51}])
def test_a_person_without_joints_is_ignored_whatever_num_keypoints_says(changes: dict[str, Any]) -> None:
    labelled = people_and_ignored([json.dumps(TinyCoco().add_person(1) | changes)], WIDTH, HEIGHT)
    assert labelled.people == []
    assert labelled.counts["people_without_joints"] == 1
    assert labelled.truth[0]["num_keypoints"] == 0
    assert to_mask(labelled.ignore).sum() == 10 * 20


def test_nobody_s_box_may_be_empty_and_has_no_area() -> None:
    for dialect in (COCO_DIALECT, CROWDPOSE_LABELLING.dialect):
        nobody = TinyCoco().add_unlabelled(1, bbox=[3, 3, 0, 0], keypoints=[0] * 3 * dialect.joints)
        del nobody["area"]
        labelled = people_and_ignored([json.dumps(nobody)], WIDTH, HEIGHT, dialect)
        assert labelled.truth[0]["area"] == 0


def test_more_people_than_are_believed() -> None:
    texts = [json.dumps(TinyCoco().add_person(1))] * 501
    with pytest.raises(BadData, match=r"too_many_people: 501 of them, more than data\.max_people=500"):
        people_and_ignored(texts, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [64, 5, 10, 20]}, "box_outside"),
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
