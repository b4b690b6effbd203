"""pipeline.evaluation.self_check: labels that cannot be found are told before a model is trained for them."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.doctor import check_data
from pipeline.data.shards import records_manifest
from pipeline.evaluation.self_check import truth_problem
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import make_records
from tests.cases.tiny_coco import TinyCoco


def _config(root: Path, coco: TinyCoco) -> RunConfig:
    coco.write(root / "data", "val2017")
    return RunConfig.model_validate({"run_root": root / "run", "data": {"root": root / "data"}})


def _problem(config: RunConfig) -> str:
    return truth_problem(make_records(config, "val2017"), config.joints, config.network)


def test_good_labels_are_found_again(tmp_path: Path) -> None:
    coco = TinyCoco()
    for people in (0, 1, 2, 3):
        coco.add_unlabelled(coco.add_image(people=people))
    config = _config(tmp_path, coco)
    assert _problem(config) == ""
    texts = [finding.text for finding in check_data(config) if finding.check == "truth"]
    assert texts == ["val2017: the labels of ten images are found again by their own truth"]


def test_nobody_to_find_is_no_problem(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image()
    config = _config(tmp_path, coco)
    records = make_records(config, "val2017")
    assert truth_problem(records, config.joints, config.network) == ""
    assert records_manifest(records).counts["people"] == 1


OUTSIDE = {"keypoints": [80, 60, 2, 90, 70, 2] + [0] * 45}
IN_SHARES = {
    "keypoints": [0.1047, 0.2061, 2, 0.1332, 0.2154, 2] + [0] * 45,
    "bbox": [0.1, 0.2, 0.05, 0.05],
    "area": 1e-6,
}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (OUTSIDE, "2 of 2 labelled joints are outside of their pictures"),
        (IN_SHARES, "the boxes of the people are 0.05 pixels large"),
    ],
)
def test_labels_that_no_model_could_find_are_told(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    coco = TinyCoco()
    coco.add_person(coco.add_image(people=0), **changes)
    problem = _problem(_config(tmp_path, coco))
    assert "should have 1" in problem
    assert why in problem


def test_images_of_more_people_than_count_are_passed_over(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image(people=1)
    coco.add_image(width=320, people=21)
    assert _problem(_config(tmp_path, coco)) == ""
