"""Shards on disk, and their writer: what stands, what is written again, and what readers accept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import UserError
from pipeline.base.files import sha256_file
from pipeline.base.progress import chunks
from pipeline.data.rejects import Rejection
from pipeline.data.rows import pack_mask, read_metadata, read_rows, unpack_mask, with_metadata
from pipeline.data.shard_writer import PlannedShard, Tally, set_aside, standing_row, write_shard
from pipeline.data.shards import (
    Manifest,
    ShardRow,
    data_fingerprint,
    read_records,
    records_manifest,
    samples_manifest,
    write_manifest,
)

SCHEMA = pa.schema([("image_id", pa.int64()), ("jpeg", pa.binary())])


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"image_id": start + i, "jpeg": bytes([i] * 100)} for i in range(count)]


def write(folder: Path, shard: int = 0, count: int = 5, made_from: str = "abc") -> ShardRow:
    tally = Tally(rejected=[Rejection(7, "7.jpg", "area", "0")])
    tally.counts["people"] = 2
    planned = PlannedShard(shard, made_from, count, {})
    return write_shard(folder, planned, SCHEMA, chunks(rows(count, 10 * shard), 2), tally)


def manifest_of(folder: Path, shards: list[ShardRow]) -> Manifest:
    return write_manifest(folder, "records", "val", {"version": 1}, shards, {"images_without_people": 0}, [])


def test_a_written_shard_stands(tmp_path: Path) -> None:
    row = write(tmp_path)
    assert (row.shard, row.file, row.rows, row.made_from) == (0, "part-00000.parquet", 5, "abc")
    assert row.sha256 == sha256_file(tmp_path / row.file)
    assert row.bytes == (tmp_path / row.file).stat().st_size
    assert standing_row(tmp_path, PlannedShard(0, "abc", 5, {})) == row
    assert pq.read_metadata(tmp_path / row.file).num_row_groups == 3
    assert list(read_rows([tmp_path / row.file], 2)) == rows(5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-00000.json", "part-00000.parquet"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a").sha256 == write(tmp_path / "b").sha256 != write(tmp_path / "c", 1).sha256


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: flip_a_byte(folder / "part-00000.parquet"),
        lambda folder: (folder / "part-00000.parquet").write_bytes(b"short"),
        lambda folder: (folder / "part-00000.parquet").unlink(),
        lambda folder: (folder / "part-00000.json").unlink(),
        lambda folder: (folder / "part-00000.json").write_text("{}"),
        lambda folder: (folder / "part-00000.json").write_text("{"),
    ],
)
def test_a_spoiled_shard_does_not_stand(spoil: Any, tmp_path: Path) -> None:
    write(tmp_path)
    spoil(tmp_path)
    assert standing_row(tmp_path, PlannedShard(0, "abc", 5, {})) is None


def test_a_shard_of_other_settings_does_not_stand(tmp_path: Path) -> None:
    write(tmp_path, made_from="abc")
    assert standing_row(tmp_path, PlannedShard(0, "abd", 5, {})) is None
    assert standing_row(tmp_path, PlannedShard(1, "abc", 5, {})) is None


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".0123.part-00000.parquet").write_bytes(b"half")
    (tmp_path / ".0123.part-00001.parquet").write_bytes(b"another's")
    write(tmp_path)
    assert not (tmp_path / ".0123.part-00000.parquet").exists()
    assert (tmp_path / ".0123.part-00001.parquet").exists()


def test_a_writer_that_fails_leaves_the_old_shard(tmp_path: Path) -> None:
    row = write(tmp_path)

    def broken() -> Any:
        yield rows(1)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_shard(tmp_path, PlannedShard(0, "new", 1, {}), SCHEMA, broken(), Tally())
    assert standing_row(tmp_path, PlannedShard(0, "abc", 5, {})) == row
    assert len(list(tmp_path.iterdir())) == 2


def test_shards_of_an_earlier_larger_run_are_set_aside(tmp_path: Path) -> None:
    for shard in range(4):
        write(tmp_path, shard)
    moved = set_aside(tmp_path, 2)
    assert [path.name for path in moved] == [".stale.part-00002.parquet", ".stale.part-00003.parquet"]
    assert all(path.exists() for path in moved)
    assert sorted(path.name for path in tmp_path.glob("part*")) == [
        "part-00000.json", "part-00000.parquet", "part-00001.json", "part-00001.parquet",
    ]  # fmt: skip
    assert set_aside(tmp_path, 2) == []


def test_a_shard_of_more_digits_counts_as_a_number(tmp_path: Path) -> None:
    write(tmp_path, 99_999)
    write(tmp_path, 100_000)
    assert set_aside(tmp_path, 100_001) == []
    assert [path.name for path in set_aside(tmp_path, 100_000)] == [".stale.part-100000.parquet"]


def test_the_manifest_sums_up(tmp_path: Path) -> None:
    shards = [write(tmp_path, 1, 3), write(tmp_path, 0, 5)]
    manifest = manifest_of(tmp_path, shards)
    assert manifest.counts == {"images_without_people": 0, "people": 4, "rows": 8}
    assert manifest.rejected == {"area": 2}
    assert [file.name for file in manifest.files] == ["part-00000.parquet", "part-00001.parquet"]
    assert records_manifest(tmp_path) == manifest
    assert data_fingerprint(tmp_path) == manifest.fingerprint
    assert [row["image_id"] for row in read_records(tmp_path)] == [0, 1, 2, 3, 4, 10, 11, 12]


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    def of(folder: Path, count: int, made_from: str) -> str:
        return manifest_of(folder, [write(folder, 0, count, made_from)]).fingerprint

    assert of(tmp_path / "a", 4, "x") == of(tmp_path / "b", 4, "y") != of(tmp_path / "c", 5, "x")


def test_readers_refuse_what_is_not_finished_or_not_theirs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run jobs/preprocess"):
        records_manifest(tmp_path)
    with pytest.raises(UserError, match="no manifest"):
        data_fingerprint(tmp_path)
    row = write(tmp_path)
    manifest_of(tmp_path, [row])
    with pytest.raises(UserError, match="holds records, not samples"):
        samples_manifest(tmp_path)
    with (tmp_path / row.file).open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="is not the file that"):
        read_records(tmp_path)


def test_rows_of_json_survive(tmp_path: Path) -> None:
    row = write(tmp_path)
    assert ShardRow.from_json(json.loads((tmp_path / "part-00000.json").read_text())) == row


def test_masks_are_packed_row_by_row_highest_bit_first() -> None:
    mask = np.zeros((3, 3), bool)
    mask[0, 0] = mask[1, 0] = mask[2, 2] = True
    assert pack_mask(mask) == bytes([0b10010000, 0b10000000])
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask), 3), mask)


def test_metadata_survives_a_file(tmp_path: Path) -> None:
    facts = {"sigma": 1.5, "input_size": 64}
    pq.write_table(pa.Table.from_pylist(rows(1), schema=with_metadata(SCHEMA, facts)), tmp_path / "a.parquet")
    assert read_metadata(pq.read_schema(tmp_path / "a.parquet")) == facts
