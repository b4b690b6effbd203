"""Annotation files as tools write them: each gives the truth of the unspoiled one, or says what is wrong."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import UserError
from pipeline.data.records import plan_records
from pipeline.data.remarks import remarks
from pipeline.data.shards import read_records, records_manifest
from pipeline.data.truth import read_truth
from pipeline.evaluation.self_check import truth_problem
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import make_records

SAME = (
    "category_2", "alphabetical_joints", "two_classes_17", "ann_id_0", "no_iscrowd", "person_and_car",
    "num_visible_only", "nested_keypoints", "json_bom",
)  # fmt: skip


def _config(cases: Path, root: Path, name: str, **data: Any) -> RunConfig:
    """The case as a data set: its annotation file and the photographs, as `lay_out.py` lays them out."""
    photos = cases / f"photos_{name}"
    shutil.copytree(photos if photos.is_dir() else cases / "photos", root / "val")
    (root / "annotations").mkdir()
    file = cases / f"{name}.json"
    shutil.copy(file if file.exists() else cases / "ok.json", root / "annotations/person_keypoints_val.json")
    values = {"root": root, "train_split": "val", "val_split": "val", "shard_images": 6, **data}
    return RunConfig.model_validate({"run_root": root / "run", "data": values})


def _truth(records: Path) -> dict[str, Any]:
    return read_truth(records, range(len(records_manifest(records).shards)))


@pytest.fixture(scope="module")
def whole(shared_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The truth of the file that nothing is wrong with."""
    return _truth(make_records(_config(shared_cases, tmp_path_factory.mktemp("ok"), "ok"), "val"))


@pytest.mark.parametrize("name", SAME)
def test_the_truth_is_that_of_the_unspoiled_file(
    shared_cases: Path, whole: dict[str, Any], tmp_path: Path, name: str
) -> None:
    records = make_records(_config(shared_cases, tmp_path, name), "val")
    assert _truth(records) == whole
    assert records_manifest(records).rejected == {}


def test_the_whole_truth_is_the_file_s_own(shared_cases: Path, whole: dict[str, Any]) -> None:
    fields = ("image_id", "keypoints", "num_keypoints", "bbox", "area", "iscrowd")
    document = json.loads((shared_cases / "ok.json").read_text())
    assert [[entry[field] for field in fields] for entry in whole["annotations"]] == [
        [entry[field] for field in fields] for entry in document["annotations"]
    ]


def test_a_person_without_joints_becomes_a_region_to_ignore(
    shared_cases: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    records = make_records(_config(shared_cases, tmp_path, "zero_keypoints_no_num"), "val")
    people = _truth(records)["annotations"]
    assert [person for person in people if person["num_keypoints"]] == [
        person | {"id": number}
        for person, number in zip(
            whole["annotations"], (p["id"] for p in people if p["num_keypoints"]), strict=True
        )
    ]
    assert sum(not person["num_keypoints"] for person in people) == 1
    assert records_manifest(records).counts["people_without_joints"] == 1


def test_a_missing_area_is_that_of_the_segmentation_or_a_share_of_the_box(
    shared_cases: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    records = make_records(_config(shared_cases, tmp_path, "no_area"), "val")
    counts = records_manifest(records).counts
    assert counts["area_from_segmentation"] + counts.get("area_from_box", 0) == 14
    for person, known in zip(_truth(records)["annotations"], whole["annotations"], strict=True):
        assert person["area"] == pytest.approx(known["area"], rel=0.3)


def test_boxes_are_clipped_to_the_picture(shared_cases: Path, tmp_path: Path) -> None:
    records = make_records(_config(shared_cases, tmp_path, "box_out_3"), "val")
    manifest = records_manifest(records)
    assert manifest.counts["people"] == 14
    assert manifest.counts["box_clipped"] > 0
    for record in read_records(records):
        for person in record["people"]:
            x, y, w, h = person["box"]
            assert min(x, y) >= -1
            assert x + w <= record["width"] + 1
            assert y + h <= record["height"] + 1


def test_shares_in_the_place_of_pixels_are_warned_of(shared_cases: Path, tmp_path: Path) -> None:
    records = make_records(_config(shared_cases, tmp_path, "normalised_keypoints"), "val")
    said = [remark.text for remark in remarks(records_manifest(records).counts) if remark.warns]
    assert any("far outside of their bbox" in text and "of 14 people" in text for text in said)


def test_categories_that_do_not_agree_are_refused_with_both_lists(shared_cases: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"category_id is 0 \(14 times\); categories lists 1"):
        plan_records(_config(shared_cases, tmp_path, "category_mismatch"), "val")


def test_pictures_that_may_be_turned_are_warned_of_and_turned_where_it_is_said(
    shared_cases: Path, tmp_path: Path
) -> None:
    records = make_records(_config(shared_cases, tmp_path / "auto", "exif_180"), "val")
    counts = records_manifest(records).counts
    assert any("data.orientation=upright" in remark.text for remark in remarks(counts) if remark.warns)
    upright = make_records(_config(shared_cases, tmp_path / "up", "exif_180", orientation="upright"), "val")
    assert records_manifest(upright).counts["pictures_turned"] == counts["pictures_turned_perhaps"] > 0


def test_one_category_can_be_chosen(shared_cases: Path, tmp_path: Path) -> None:
    config = _config(shared_cases, tmp_path / "one", "two_classes_17", categories=["referee"])
    assert 0 < len(_truth(make_records(config, "val"))["annotations"]) < 14
    config = _config(shared_cases, tmp_path / "none", "two_classes_17", categories=["goalkeeper"])
    with pytest.raises(UserError, match=r"data\.categories names 'goalkeeper'.*'person' \(id 1\), 'referee'"):
        plan_records(config, "val")


def test_the_labels_of_every_case_are_found_again_by_their_own_truth(
    shared_cases: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    config = _config(shared_cases, tmp_path, "ok")
    assert truth_problem(make_records(config, "val"), config.joints, config.network) == ""
