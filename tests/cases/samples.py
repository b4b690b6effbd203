"""Sample files written by hand, for the tests that read them."""

from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hgg.pictures import decode_picture
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets
from pipeline.base.files import sha256_file
from pipeline.base.seeds import sample_key
from pipeline.batches.collate import Batch
from pipeline.batches.order import Order
from pipeline.data.rows import SAMPLE_SCHEMA, pack_mask, unpack_mask
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
    files, first = [], 0
    for rows in rows_of_files:
        files.append([sample_row(k + 1, people=k % (most_people + 1)) for k in range(first, first + rows)])
        first += rows
    write_files(folder, files, row_group)
    return first


def write_files(
    folder: Path,
    files: list[list[dict[str, Any]]],
    row_group: int = 4,
    input_size: int = INPUT,
    output_size: int = CELLS,
) -> None:
    """Files of samples and their manifest."""
    folder.mkdir(parents=True)
    shards = [write_shard(folder, number, rows, row_group) for number, rows in enumerate(files)]
    settings = {"input_size": input_size, "output_size": output_size, "joints": NUM_JOINTS}
    write_manifest(folder, "samples", folder.name, settings, shards, {}, [])


def write_shard(folder: Path, number: int, rows: list[dict[str, Any]], row_group: int) -> ShardRow:
    """A file of samples, written as `pipeline.data.shard_writer` does; returns its row for the manifest."""
    path = folder / shard_file(number)
    pq.write_table(
        pa.Table.from_pylist(rows, SAMPLE_SCHEMA),
        path,
        row_group_size=row_group,
        compression="zstd",
        use_dictionary=False,
        write_statistics=["image_id"],
        write_page_checksum=True,
    )
    return ShardRow(number, path.name, len(rows), path.stat().st_size, sha256_file(path), "", {}, [])


def assert_equal(a: Batch, b: Batch) -> None:
    """Both batches hold the same to the last bit."""
    for x, y in zip((a.images, *a.targets, *a[2:]), (b.images, *b.targets, *b[2:]), strict=True):
        assert x.dtype == y.dtype
        assert x.stride() == y.stride()
        assert torch.equal(x, y)


def plain_batches(folder: Path, batch: int, rank: int = 0, world: int = 1, seed: int = 0) -> Iterator[Batch]:
    """The batches of `SampleReader` by the plain route: all rows in memory, one row after the other."""
    groups = [
        file.read_row_group(number).to_pylist()
        for file in map(pq.ParquetFile, sorted(folder.glob("part-*.parquet")))
        for number in range(file.num_row_groups)
    ]
    order = Order([len(rows) for rows in groups], batch * world, world, seed)
    share = order.lanes // world
    for epoch in count():
        lanes = [
            chain.from_iterable(order.windows(epoch, lane, 0))
            for lane in range(rank * share, (rank + 1) * share)
        ]
        for _ in range(order.steps):
            places = chain.from_iterable(islice(lane, order.lane_rows) for lane in lanes)
            yield plain_batch([groups[unit][row] for unit, row in places], seed, epoch)


def plain_batch(rows: list[dict[str, Any]], seed: int, epoch: int) -> Batch:
    """Rows as Python values to a batch."""
    images = [decode_picture(row["jpeg"]) for row in rows]
    heatmaps = [np.frombuffer(row["heatmaps"], np.uint8).reshape(-1, CELLS, CELLS) for row in rows]
    areas = torch.zeros(len(rows), max(len(row["areas"]) for row in rows))
    joints = torch.zeros(*areas.shape, NUM_JOINTS, 3)
    for b, row in enumerate(rows):
        people = len(row["areas"])
        areas[b, :people] = torch.tensor(row["areas"])
        joints[b, :people] = torch.tensor(row["joints"]).reshape(people, NUM_JOINTS, 3)
    masks = torch.from_numpy(np.stack([unpack_mask(row["mask"], CELLS) for row in rows]))
    return Batch(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        Targets(torch.from_numpy(np.stack(heatmaps)), masks, joints, areas),
        torch.tensor([row["image_id"] for row in rows]),
        torch.tensor([sample_key(seed, epoch, row["image_id"], row["view"]) for row in rows]),
    )
