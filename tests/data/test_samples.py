"""pipeline.data.samples without Ray: which views are written, in which order, and with what metadata."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hgg.config import NetworkConfig
from hgg.skeleton import NUM_JOINTS
from pipeline.base.errors import UserError
from pipeline.base.seeds import view_rng
from pipeline.data.encode import encode_view
from pipeline.data.records import plan_records
from pipeline.data.rows import SAMPLE_SCHEMA, read_metadata, read_rows
from pipeline.data.samples import plan_samples
from pipeline.data.shard_writer import ShardPlan
from pipeline.data.shards import read_records, write_manifest
from pipeline.settings.config import RunConfig
from pipeline.settings.data import DataConfig
from tests.cases.tiny_coco import TinyCoco


def make_config(root: Path, network: NetworkConfig | None = None, **data: Any) -> RunConfig:
    settings: dict[str, Any] = {"views": 2, "row_group": 3, "shard_images": 8, "sigma": 1.0} | data
    return RunConfig(
        run_root=root / "run",
        network=network or NetworkConfig(input_size=64, depth=2),
        data=DataConfig(root=root, train_split="train", val_split="val", **settings),
    )


def write_records(config: RunConfig, split: str) -> None:
    stage = plan_records(config, split)
    rows = [stage.write(planned) for planned in stage.shards]
    write_manifest(stage.folder, "records", split, stage.settings, rows, {}, [])


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Records of five images with people and one without, for both splits."""
    coco = TinyCoco()
    for people in (1, 2, 0, 1, 1, 3):
        coco.add_image(people=people)
    config = make_config(tmp_path)
    for split in ("train", "val"):
        coco.write(tmp_path, split)
        write_records(config, split)
    return config


def write_all(stage: ShardPlan) -> list[dict[str, Any]]:
    rows = [stage.write(planned) for planned in stage.shards]
    return [row for shard in rows for row in pq.read_table(stage.folder / shard.file).to_pylist()]


def test_every_view_of_every_image_with_people_is_written_once(config: RunConfig) -> None:
    written = write_all(plan_samples(config, "train"))
    expected = [(image, view) for image in (10, 11, 13, 14, 15) for view in range(3)]
    assert sorted((row["image_id"], row["view"]) for row in written) == expected


def test_validation_has_the_plain_view_alone(config: RunConfig) -> None:
    written = write_all(plan_samples(config, "val"))
    assert [(row["image_id"], row["view"]) for row in written] == [(i, 0) for i in (10, 11, 13, 14, 15)]


def test_a_row_group_shows_each_image_once_in_differing_views(config: RunConfig) -> None:
    stage = plan_samples(config, "train")
    row = stage.write(stage.shards[0])
    with pq.ParquetFile(stage.folder / row.file) as file:
        groups = [file.read_row_group(g, columns=["image_id", "view"]) for g in range(file.num_row_groups)]
    assert [group["image_id"].to_pylist() for group in groups] == [[10, 11, 13]] * 3 + [[14, 15]] * 3
    views = [group["view"].to_pylist() for group in groups]
    assert views == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1], [1, 2], [2, 0]]
    assert row.counts == {"images": 5, "people": 8}


def test_a_row_is_what_encode_view_makes(config: RunConfig) -> None:
    stage = plan_samples(config, "train")
    written = {(row["image_id"], row["view"]): row for row in write_all(stage)}
    record = next(r for r in read_records(config.run_root / "records" / "train") if r["image_id"] == 15)
    made = encode_view(record, view_rng(config.data.seed, 15, 2), 2, config.data, config.network)
    row = written[15, 2]
    for name in ("jpeg", "heatmaps", "mask"):
        assert row[name] == made[name]
    for name in ("joints", "areas", "transform"):
        np.testing.assert_array_equal(row[name], made[name])
    assert len(row["joints"]) == 3 * NUM_JOINTS * 3
    assert len(row["heatmaps"]) == NUM_JOINTS * 16 * 16


def test_files_say_what_their_rows_are(config: RunConfig) -> None:
    stage = plan_samples(config, "train")
    row = stage.write(stage.shards[0])
    schema = pq.read_schema(stage.folder / row.file)
    facts = read_metadata(schema)
    assert schema.equals(SAMPLE_SCHEMA)
    assert (facts["input_size"], facts["output_size"], facts["joints"], facts["sigma"]) == (64, 16, 17, 1.0)
    assert len(facts["fingerprint"]) == 12


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"sigma": 2.0}, True),
        ({"seed": 1}, True),
        ({"views": 3}, True),
        ({"rotation": 10.0}, True),
        ({"jpeg_quality": 90}, True),
        ({"network": NetworkConfig(input_size=128, depth=2)}, True),
        ({"network": NetworkConfig(input_size=64, depth=2, stacks=1, channels=64)}, False),
        ({"max_rejected": 3}, False),
        ({"workers": 2}, False),
    ],
)
def test_samples_are_stale_when_what_they_show_changes(
    changes: dict[str, Any], stale: bool, config: RunConfig
) -> None:
    before = plan_samples(config, "train").shards
    after = plan_samples(make_config(config.data.root, **changes), "train").shards
    assert (before[0].made_from != after[0].made_from) == stale


def test_a_flipped_bit_is_seen_when_its_page_is_read(config: RunConfig) -> None:
    stage = plan_samples(config, "train")
    row = stage.write(stage.shards[0])
    path = stage.folder / row.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"part-00000\.parquet: damaged \(.*\): run jobs/preprocess\.py"):
        list(read_rows([path]))


def test_unfinished_records_are_refused(config: RunConfig) -> None:
    (config.run_root / "records" / "train" / "manifest.json").unlink()
    with pytest.raises(UserError, match="run jobs/preprocess"):
        plan_samples(config, "train")
