"""Sample files written by hand, for the tests that read them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hgg.skeleton import NUM_JOINTS
from pipeline.base.files import sha256_file
from pipeline.batches.collate import Batch
from pipeline.data.rows import SAMPLE_SCHEMA, pack_mask
from pipeline.data.shards import ShardRow, shard_file, write_manifest

INPUT, CELLS = 32, 8


def sample_row(image_id: int, view: int = 0, people: int = 1) -> dict[str, Any]:
    """A sample whose every value is a function of its number: a grey picture with a red left half."""
    rng = np.random.default_rng(image_id)
    image = np.full((INPUT, INPUT, 3), image_id % 200, np.uint8)
    image[:, : INPUT // 2, 0] = 230
    ok, jpeg = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 100))
    assert ok
    joints = np.concatenate(
        (rng.uniform(0, CELLS - 1, (people, NUM_JOINTS, 2)), rng.integers(0, 2, (people, NUM_JOINTS, 1))), -1
    )
    joints[joints[..., 2] == 0] = 0
    return {
        "image_id": image_id,
        "view": view,
        "jpeg": jpeg.tobytes(),
        "heatmaps": rng.integers(0, 256, (NUM_JOINTS, CELLS, CELLS)).astype(np.uint8).tobytes(),
        "mask": pack_mask(rng.random((CELLS, CELLS)) < 0.7),
        "joints": joints.astype(np.float32).ravel(),
        "areas": rng.uniform(1, 9, people).astype(np.float32),
        "transform": np.array((1, 0, 0, 0, 1, 0), float),
    }


def write_samples(folder: Path, rows_of_files: list[int], row_group: int = 4, most_people: int = 3) -> int:
    """Files with so many rows each, image ids counted from 1; returns the number of rows."""
    folder.mkdir(parents=True)
    image_id = 0
    shards = []
    for number, count in enumerate(rows_of_files):
        rows = [sample_row(image_id + k + 1, people=(image_id + k) % (most_people + 1)) for k in range(count)]
        image_id += count
        shards.append(write_shard(folder, number, rows, row_group))
    write_manifest(
        folder, "samples", folder.name, {"input_size": INPUT, "joints": NUM_JOINTS}, shards, {}, []
    )
    return image_id


def write_shard(folder: Path, number: int, rows: list[dict[str, Any]], row_group: int) -> ShardRow:
    """A file of samples; returns its row for the manifest."""
    path = folder / shard_file(number)
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_SCHEMA), path, row_group_size=row_group)
    return ShardRow(number, path.name, len(rows), path.stat().st_size, sha256_file(path), "", {}, [])


def assert_equal(a: Batch, b: Batch) -> None:
    """Both batches hold the same to the last bit."""
    for x, y in zip((a.images, *a.targets, *a[2:]), (b.images, *b.targets, *b[2:]), strict=True):
        assert x.dtype == y.dtype
        assert torch.equal(x, y)
