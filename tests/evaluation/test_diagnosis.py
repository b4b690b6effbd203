"""The diagnosis by hand: which images belong to which part, and what is subtracted from what."""

import json
from pathlib import Path
from typing import Any

import pytest

from hgg.groupings import GROUPINGS
from pipeline.evaluation.diagnosis import COLUMNS, diagnose, diagnosis_rows, diagnosis_table, sum_fates
from pipeline.evaluation.evaluate import Evaluation
from pipeline.metrics.coco import coco_metrics, load_annotations
from pipeline.metrics.fates import Fates
from tests.cases.evaluation import coco_person

# Left edges of the people's boxes, 40 x 80 with an area of 2,400: side by side, IoU 0.25, IoU 0.6, alone.
IMAGES = {1: [0.0, 80.0], 2: [0.0, 24.0, 120.0], 3: [0.0, 10.0, 120.0, 240.0], 4: [0.0], 5: []}


@pytest.fixture
def people() -> list[dict[str, Any]]:
    places = [(image, left) for image, lefts in IMAGES.items() for left in lefts]
    return [coco_person(image, number, left, 0.0) for number, (image, left) in enumerate(places, start=1)]


def _evaluation(
    tmp_path: Path,
    people: list[Any],
    detections: dict[str, list[Any]],
    image_ids: list[int],
    fates: dict[str, dict[int, Fates]] | None = None,
) -> Evaluation:
    crowd = coco_person(4, 99, 10.0, 0.0) | {"iscrowd": 1, "num_keypoints": 0}
    unlabelled = coco_person(4, 98, 20.0, 0.0) | {"num_keypoints": 0, "keypoints": [0] * 51}
    content = {
        "images": [{"id": image, "width": 900, "height": 100} for image in IMAGES],
        "annotations": [*people, crowd, unlabelled],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    truth = load_annotations(tmp_path / "truth.json")
    ap = {grouping: coco_metrics(truth, rows, image_ids) for grouping, rows in detections.items()}
    return Evaluation(ap, detections, {}, image_ids, truth, fates or {})


def _found(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("image_id", "category_id", "keypoints")
    return [{name: person[name] for name in kept} | {"score": 0.9} for person in people]


def test_parts_and_their_counts(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    perfect: dict[str, list[Any]] = dict.fromkeys(GROUPINGS, _found(people))
    parts = diagnose(_evaluation(tmp_path, people, perfect, list(IMAGES)))
    assert [(part.name, part.images, part.people) for part in parts] == [
        ("all", 5, 10),
        ("1 person", 1, 1),
        ("2 or 3 people", 2, 5),
        ("4 or more people", 1, 4),
        ("several people, boxes overlap below 0.1", 1, 2),
        ("boxes overlap by 0.1 to 0.3", 1, 3),
        ("boxes overlap above 0.3", 1, 4),
        ("medium people", 4, 10),
        ("large people", 0, 0),
    ]
    for row in diagnosis_rows(parts)[:-1]:
        assert [row[name] for name in COLUMNS[2:]] == pytest.approx([1, 1, 1, 0, 0, 0]), row
    assert diagnosis_rows(parts)[-1]["oracle"] is None


def test_a_loss_stands_where_it_was_made(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    # AE misses the crowded image, HGG the lone person, and the oracle nobody.
    found = {
        "ae": _found([person for person in people if person["image_id"] != 3]),
        "hgg": _found([person for person in people if person["image_id"] != 4]),
        "oracle": _found(people),
    }
    parts = diagnose(_evaluation(tmp_path, people, found, list(IMAGES)))
    rows = {row["part"]: row for row in diagnosis_rows(parts)}
    assert rows["4 or more people"]["AE"] == 0.0
    assert rows["4 or more people"]["oracle - AE"] == pytest.approx(1.0)
    assert rows["4 or more people"]["oracle - HGG"] == pytest.approx(0.0)
    assert rows["1 person"]["oracle - HGG"] == pytest.approx(1.0)
    assert rows["2 or 3 people"]["oracle - AE"] == pytest.approx(0.0)
    assert 0 < rows["all"]["oracle - HGG"] < rows["all"]["oracle - AE"] < 1


def test_only_images_that_were_looked_at_count(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    nobody: dict[str, list[Any]] = {grouping: [] for grouping in GROUPINGS}
    parts = diagnose(_evaluation(tmp_path, people, nobody, [1, 5]))
    assert (parts[0].images, parts[0].people) == (2, 2)
    table = diagnosis_table(parts).splitlines()
    assert table[2] == "| all | 2 | 2 | 0.000 | 0.000 | 0.000 | 1.000 | 0.000 | 0.000 |"
    assert table[3] == "| 1 person | 0 | 0 |  |  |  |  |  |  |"


def test_fates_are_summed_over_the_images_of_each_kind(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    nobody: dict[str, list[Any]] = {grouping: [] for grouping in GROUPINGS}
    each = {1: Fates(5, 2, 3), 2: Fates(9, 1, 4, 3, 1), 3: Fates(20, 0, 20), 4: Fates(7, 7), 5: Fates()}
    summed = sum_fates(_evaluation(tmp_path, people, nobody, [*IMAGES], {"hgg": each}))["hgg"]
    assert summed["all"] == Fates(41, 10, 27, 3, 1)
    assert summed["1 person"] == each[4]
    assert summed["2 or 3 people"] == Fates(14, 3, 7, 3, 1)
    assert summed["4 or more people"] == each[3]
    assert summed["several people, boxes overlap below 0.1"] == each[1]
