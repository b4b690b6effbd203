"""Published figures of COCO's evaluation come out of this module to the last digit given."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.provenance import REPOSITORY
from pipeline.metrics.coco import METRICS, coco_metrics, load_annotations

EVALUATOR = REPOSITORY.parent / "shared" / "data" / "evaluator"


def _expected(case: str) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    if not EVALUATOR.is_dir():
        pytest.skip("optional test data ../shared/data/evaluator is absent")
    entry = json.loads((EVALUATOR / "expected.json").read_text())[case]
    return EVALUATOR / entry["gt"], json.loads((EVALUATOR / entry["dt"]).read_text()), entry


@pytest.mark.parametrize(
    ("case", "key", "iou_type", "digits"),
    [
        ("coco_fake100_keypoints", None, "keypoints", 3),
        ("coco_fake100_bbox", "stats", "bbox", 3),
        ("crowded_image_139099", "stats_AP_AP50_AP75_M_L_AR_AR50_AR75_M_L", "keypoints", None),
        ("xtcocoapi_hrnet4", "stats", "keypoints", 4),
    ],
)
def test_figures_of_known_results(case: str, key: str | None, iou_type: Any, digits: int | None) -> None:
    truth, detections, entry = _expected(case)
    names = METRICS[iou_type]
    expected = (
        {name: entry[name] for name in names} if key is None else dict(zip(names, entry[key], strict=True))
    )
    found = coco_metrics(truth, detections, iou_type=iou_type)
    assert {
        name: value if digits is None else round(value, digits) for name, value in found.items()
    } == expected


def _truth(tmp_path: Path, *, empty_image: bool = False) -> tuple[Path, list[dict[str, Any]]]:
    """Two images with one person each, as ground truth and as its own detections."""
    people = []
    for number, image in enumerate((7, 9), start=1):
        points = [[10.0 + 9 * joint, 20.0 + (joint * 37) % 90, 2] for joint in range(17)]
        people.append(
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": 17,
                "area": 5000.0,
                "bbox": [10.0, 20.0, 150.0, 90.0],
                "keypoints": [value for point in points for value in point],
            }
        )
    images = [{"id": image, "width": 200, "height": 200} for image in (7, 9, *([11] if empty_image else []))]
    path = tmp_path / "truth.json"
    categories = [{"id": 1, "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": categories}))
    detections = [
        {"image_id": p["image_id"], "category_id": 1, "keypoints": p["keypoints"], "score": 0.9}
        for p in people
    ]
    return path, detections


def test_perfect_detections_and_silence_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, detections = _truth(tmp_path)
    before = copy.deepcopy(detections)
    found = coco_metrics(path, detections)
    assert (found["AP"], found["AR"]) == pytest.approx((1.0, 1.0))
    assert found["AP_L"] == -1.0  # no person above 96 x 96
    assert capsys.readouterr().out == ""
    assert detections == before


def test_no_detections_at_all_are_zero(tmp_path: Path) -> None:
    path, _ = _truth(tmp_path)
    found = coco_metrics(path, [])
    assert found["AP"] == found["AR"] == 0.0
    assert coco_metrics(path, [], iou_type="bbox")["AP"] == 0.0


def test_only_the_chosen_images_count(tmp_path: Path) -> None:
    path, detections = _truth(tmp_path)
    assert coco_metrics(path, detections[:1])["AP"] == pytest.approx(0.5049505, abs=1e-6)
    assert coco_metrics(path, detections[:1], image_ids=[7])["AP"] == pytest.approx(1.0)
    assert coco_metrics(path, detections, image_ids=[7])["AP"] == pytest.approx(1.0)


def test_an_image_without_people_can_cost_precision(tmp_path: Path) -> None:
    path, detections = _truth(tmp_path, empty_image=True)
    invented = {**detections[0], "image_id": 11, "score": 0.99}
    assert coco_metrics(path, [*detections, invented])["AP"] < 0.7


def test_the_same_ground_truth_serves_twice(tmp_path: Path) -> None:
    path, detections = _truth(tmp_path)
    truth = load_annotations(path)
    assert coco_metrics(truth, detections) == coco_metrics(truth, detections)


def test_an_unknown_image_is_named(tmp_path: Path) -> None:
    path, detections = _truth(tmp_path)
    with pytest.raises(ValueError, match="image 12 is not in the annotations"):
        coco_metrics(path, [{**detections[0], "image_id": 12}])
    with pytest.raises(ValueError, match="image 13 is not in the annotations"):
        coco_metrics(path, detections, image_ids=[7, 13])


@pytest.mark.parametrize("content", ["no json", "[1]", '{"images": []}', '{"images": [{}]}'])
def test_a_file_that_is_not_coco_s_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"other\.json: not a COCO annotation file") as refusal:
        load_annotations(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=r"absent\.json: No such file"):
        load_annotations(tmp_path / "absent.json")
