"""The diagnosis by hand: which images belong to which part, and what is subtracted from what."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.diagnosis import COLUMNS, diagnose, diagnosis_rows, diagnosis_table
from pipeline.metrics import load_annotations

GROUPINGS = ("ae", "hgg", "oracle")
# Left edges of the people's boxes, 100 x 100 with an area of 5,000: side by side, IoU 0.25, IoU 0.6, alone.
IMAGES = {1: [0.0, 200.0], 2: [0.0, 60.0, 300.0], 3: [0.0, 25.0, 300.0, 600.0], 4: [0.0], 5: []}


def _person(image: int, left: float, number: int) -> dict[str, Any]:
    points = [[left + 5 * joint, 3.0 + (joint * 37) % 90, 2] for joint in range(17)]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 17,
        "area": 5000.0,
        "bbox": [left, 0.0, 100.0, 100.0],
        "keypoints": [value for point in points for value in point],
    }


@pytest.fixture
def people() -> list[dict[str, Any]]:
    places = [(image, left) for image, lefts in IMAGES.items() for left in lefts]
    return [_person(image, left, number) for number, (image, left) in enumerate(places, start=1)]


def _truth(tmp_path: Path, people: list[dict[str, Any]]) -> Any:
    crowd = _person(4, 10.0, 99) | {"iscrowd": 1, "num_keypoints": 0}
    unlabelled = _person(4, 20.0, 98) | {"num_keypoints": 0, "keypoints": [0] * 51}
    content = {
        "images": [{"id": image, "width": 900, "height": 100} for image in IMAGES],
        "annotations": [*people, crowd, unlabelled],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return load_annotations(tmp_path / "truth.json")


def _found(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("image_id", "category_id", "keypoints")
    return [{name: person[name] for name in kept} | {"score": 0.9} for person in people]


def test_parts_and_their_counts(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    perfect = dict.fromkeys(GROUPINGS, _found(people))
    parts = diagnose(_truth(tmp_path, people), perfect, list(IMAGES))
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
    rows = {
        row["part"]: row for row in diagnosis_rows(diagnose(_truth(tmp_path, people), found, list(IMAGES)))
    }
    assert rows["4 or more people"]["AE"] == 0.0
    assert rows["4 or more people"]["oracle - AE"] == pytest.approx(1.0)
    assert rows["4 or more people"]["oracle - HGG"] == pytest.approx(0.0)
    assert rows["1 person"]["oracle - HGG"] == pytest.approx(1.0)
    assert rows["2 or 3 people"]["oracle - AE"] == pytest.approx(0.0)
    assert 0 < rows["all"]["oracle - HGG"] < rows["all"]["oracle - AE"] < 1


def test_only_images_that_were_looked_at_count(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    parts = diagnose(_truth(tmp_path, people), {grouping: [] for grouping in GROUPINGS}, [1, 5])
    assert (parts[0].images, parts[0].people) == (2, 2)
    table = diagnosis_table(parts).splitlines()
    assert table[2] == "| all | 2 | 2 | 0.000 | 0.000 | 0.000 | 1.000 | 0.000 | 0.000 |"
    assert table[3] == "| 1 person | 0 | 0 |  |  |  |  |  |  |"
