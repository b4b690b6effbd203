"""pipeline.data.records without Ray: rows, rejections by reason, which images are kept, fingerprints."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import UserError
from pipeline.data.records import plan_records
from pipeline.data.rejects import Rejection, by_reason, check_limit
from pipeline.data.rows import RECORD_SCHEMA, read_metadata
from pipeline.data.shard_writer import ShardPlan
from pipeline.data.shards import ShardRow, write_manifest
from pipeline.settings.config import RunConfig
from pipeline.settings.data import DataConfig
from tests.cases.tiny_coco import TinyCoco, jpeg, spoiled


def make_config(root: Path, **data: Any) -> RunConfig:
    return RunConfig(
        run_root=root / "run", data=DataConfig(root=root, train_split="train", val_split="val", **data)
    )


def plan(coco: TinyCoco, root: Path, split: str = "train", **data: Any) -> ShardPlan:
    coco.write(root, split)
    return plan_records(make_config(root, **data), split)


def write_all(stage: ShardPlan) -> list[ShardRow]:
    return [stage.write(planned) for planned in stage.shards]


def test_a_record_holds_the_file_untouched_and_its_people(tmp_path: Path) -> None:
    coco = TinyCoco()
    image_id = coco.add_image(width=64, height=48, people=2)
    coco.add_unlabelled(image_id)
    stage = plan(coco, tmp_path)
    (row,) = write_all(stage)
    assert (row.rows, row.counts, row.rejected) == (1, {"people": 2, "people_without_joints": 1}, [])
    table = pq.read_table(stage.folder / row.file)
    assert table.schema.equals(RECORD_SCHEMA)
    (record,) = table.to_pylist()
    assert record["jpeg"] == coco.pictures[record["file_name"]]
    assert (record["image_id"], record["width"], record["height"]) == (image_id, 64, 48)
    assert [person["annotation_id"] for person in record["people"]] == [100, 101]
    assert record["people"][0]["keypoints"] == coco.annotations[0]["keypoints"]
    assert record["ignore"]["size"] == [48, 64]
    assert read_metadata(table.schema) == {"stage": "records", "version": 1, "row_group": 32}


def test_bad_images_are_left_out_and_counted_by_reason(tmp_path: Path) -> None:
    coco, expected = spoiled()
    stage = plan(coco, tmp_path)
    (row,) = write_all(stage)
    assert by_reason(stage.before.rejected + row.rejected) == expected
    assert row.rows == 1
    reasons = {r.file_name: r.reason for r in stage.before.rejected + row.rejected}
    assert reasons["000000000012.jpg"] == "truncated"
    kept = pq.read_table(stage.folder / row.file)["image_id"].to_pylist()
    assert kept == [10]


def test_images_without_people_are_kept_for_validation_alone(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image(people=1)
    coco.add_image(people=0)
    coco.add_unlabelled(coco.add_image(people=0))
    for split, rows in (("train", 1), ("val", 3)):
        stage = plan(coco, tmp_path, split)
        assert sum(row.rows for row in write_all(stage)) == rows
        assert stage.before.counts == {"images_without_people": 2}


def test_shards_hold_so_many_images_in_row_groups(tmp_path: Path) -> None:
    coco = TinyCoco()
    for _ in range(7):
        coco.add_image()
    stage = plan(coco, tmp_path, shard_images=5, row_group=2)
    rows = write_all(stage)
    assert [row.rows for row in rows] == [5, 2]
    assert [planned.units for planned in stage.shards] == [5, 2]
    metadata = pq.read_metadata(stage.folder / rows[0].file)
    assert [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)] == [2, 2, 1]


def made_from(coco: TinyCoco, root: Path, **data: Any) -> list[str]:
    return [planned.made_from for planned in plan(coco, root, shard_images=1, **data).shards]


def test_a_shard_is_stale_when_its_inputs_or_settings_change_and_only_then(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image()
    coco.add_image()
    before = made_from(coco, tmp_path)
    coco.images.reverse()
    coco.annotations[0]["segmentation"] = []  # of a labelled person: not used
    assert made_from(coco, tmp_path) == before

    coco.annotations[0]["area"] = 99.0
    changed = made_from(coco, tmp_path)
    assert changed[0] != before[0]
    assert changed[1] == before[1]
    coco.pictures["000000000011.jpg"] = jpeg(64, 48, seed=77)
    changed_file = made_from(coco, tmp_path)
    assert changed_file[0] == changed[0]
    assert changed_file[1] != changed[1]
    assert all(a != b for a, b in zip(made_from(coco, tmp_path, row_group=5), changed_file, strict=True))


def test_a_missing_picture_does_not_move_others_to_another_shard(tmp_path: Path) -> None:
    coco = TinyCoco()
    for _ in range(4):
        coco.add_image()
    before = [planned.made_from for planned in plan(coco, tmp_path, shard_images=2).shards]
    (tmp_path / "train" / "000000000010.jpg").unlink()
    after = plan_records(make_config(tmp_path, shard_images=2), "train")
    assert after.shards[0].made_from != before[0]
    assert after.shards[1].made_from == before[1]
    assert by_reason(after.before.rejected) == {"missing_file": 1}


def test_a_file_without_labelled_people_is_refused(tmp_path: Path) -> None:
    coco = TinyCoco()
    coco.add_image(people=0)
    with pytest.raises(UserError, match="no usable image has a person with labelled joints"):
        plan(coco, tmp_path, "val")


def test_too_many_bad_images_stop_with_the_frequent_reasons(tmp_path: Path) -> None:
    rejections = [Rejection(i, f"{i}.jpg", "truncated", "") for i in (3, 1, 2)]
    rejections += [Rejection(9, "9.jpg", "area", "")]
    listed = tmp_path / "records" / "rejected.jsonl"
    check_limit(rejections, 4, listed, tmp_path / "val.json")
    assert not listed.exists()
    with pytest.raises(UserError) as caught:
        check_limit(rejections, 3, listed, tmp_path / "val.json")
    assert f"{tmp_path}/val.json: 4 bad images, more than data.max_rejected=3" in str(caught.value)
    assert "most often truncated (3), area (1). " in str(caught.value)
    assert str(listed) in str(caught.value)
    assert "\n" not in str(caught.value)
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    assert [line["image_id"] for line in lines] == [1, 2, 3, 9]


def test_rejections_of_a_shard_survive_its_row(tmp_path: Path) -> None:
    coco, expected = spoiled()
    stage = plan(coco, tmp_path)
    rows = [ShardRow.from_json(json.loads(json.dumps(row.as_json()))) for row in write_all(stage)]
    manifest = write_manifest(
        stage.folder, "records", "train", stage.settings, rows, {}, stage.before.rejected
    )
    assert manifest.rejected == expected
