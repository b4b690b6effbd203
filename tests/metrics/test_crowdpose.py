"""CrowdPose's published figures come out of this module to the last digit given."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.metrics.crowdpose import crowdpose_metrics

Person = dict[str, Any]


def test_figures_of_known_results(shared_data: Path) -> None:
    entry = json.loads((shared_data / "evaluator" / "expected.json").read_text())["crowdpose_example"]
    detections = json.loads((shared_data / "evaluator" / entry["dt"]).read_text())
    found = crowdpose_metrics(shared_data / "evaluator" / entry["gt"], detections)
    exact = {
        "AP": "AP_all",
        "AP50": "AP_50",
        "AP75": "AP_75",
        "AR": "AR_all",
        "AR50": "AR_50",
        "AR75": "AR_75",
    }
    assert {name: found[name] for name in exact} == {name: entry[key] for name, key in exact.items()}
    for name in ("AP_easy", "AP_medium", "AP_hard"):
        assert round(found[name], 4) == entry[name]


def _person(image: int, shift: float = 0.0) -> Person:
    points = [[20.0 + shift, 10.0 + 9 * joint, 2] for joint in range(14)]
    return {
        "id": image,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 14,
        "bbox": [10.0, 5.0, 40.0, 130.0],
        "keypoints": [value for point in points for value in point],
    }


def _detection(person: Person) -> Person:
    return {name: person[name] for name in ("image_id", "category_id", "keypoints")} | {"score": 0.9}


def _write(path: Path, crowding: list[float | None], people: list[Person]) -> Path:
    images = [
        {"id": number} | ({} if crowd is None else {"crowdIndex": crowd})
        for number, crowd in enumerate(crowding, start=1)
    ]
    categories = [{"id": 1, "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": categories}))
    return path


def test_each_degree_of_crowding_counts_its_own_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 0.1 is medium and 0.8 hard; the person of the hard image is not found.
    people = [_person(1), _person(2), _person(3)]
    truth = _write(tmp_path / "truth.json", [0.09, 0.1, 0.8], people)
    found = crowdpose_metrics(truth, [_detection(person) for person in people[:2]])
    assert found["AP_easy"] == pytest.approx(1.0)
    assert found["AP_medium"] == pytest.approx(1.0)
    assert found["AP_hard"] == 0.0
    assert found["AR"] == pytest.approx(2 / 3)
    assert capsys.readouterr().out == ""


def test_a_degree_without_images_or_people_is_minus_one(tmp_path: Path) -> None:
    truth = _write(tmp_path / "truth.json", [0.0, 0.5], [_person(1)])
    found = crowdpose_metrics(truth, [])
    assert found["AP"] == found["AP_easy"] == 0.0
    assert found["AP_medium"] == found["AP_hard"] == -1.0


def test_the_area_is_a_share_of_the_box(tmp_path: Path) -> None:
    # All joints d = 6 away: OKS is the mean of exp(-36 / (2 area (2 sigma)^2)) with area 0.53 * 40 * 130.
    truth = _write(tmp_path / "truth.json", [0.0], [_person(1)])
    found = crowdpose_metrics(truth, [_detection(_person(1, shift=6.0))])
    # sigma 0.062 gives 0.654, 0.107 gives 0.867; the mean over the 14 joints is 0.773: found up to 0.75.
    assert found["AP"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("crowding", "change", "message"),
    [
        ([None], lambda row: row, "image 1 has no crowdIndex"),
        (
            [0.0],
            lambda row: row | {"keypoints": [0] * 51},
            "detection with 17 keypoints",
        ),
        ([0.0], lambda row: row | {"image_id": 7}, "image 7 is not in the annotations"),
    ],
)
def test_what_is_not_crowdpose_is_refused(
    tmp_path: Path, crowding: list[float | None], change: Callable[[Person], Person], message: str
) -> None:
    truth = _write(tmp_path / "truth.json", crowding, [_person(1)])
    with pytest.raises(ValueError, match=message):
        crowdpose_metrics(truth, [change(_detection(_person(1)))])
