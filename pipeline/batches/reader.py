"""Samples (Parquet) to the batches of each training step, without Ray. Letter: B images."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.base.errors import UserError
from pipeline.batches.collate import Batch, collate
from pipeline.batches.order import Order
from pipeline.data.rows import open_parquet
from pipeline.data.shards import Manifest, held_out_shards, samples_manifest

COLUMNS = ["image_id", "view", "jpeg", "heatmaps", "mask", "joints", "areas"]


class Unit(NamedTuple):
    """What is read at once: a row group of a file."""

    file: Path
    group: int
    rows: int


class SampleReader(IterableDataset[Batch]):
    """The endless stream of one rank's training batches, epoch after epoch.

    A function of (seed, rank) and the samples; `start_step` begins anywhere in it without decoding what
    lies before. All ranks' batches of one step together are the same samples for every `world`
    (`pipeline.batches.order`). Memory holds one window of undecoded rows per lane, whatever the data's size.

    Args:
        folder: samples of a split.
        batch_size: B, images per step of this rank.
        rank: which part of each step's images, below `world`.
        world: number of ranks.
        seed: seed of order and augmentation keys.
        start_step: step (counted from 0 over all epochs) that comes first.
        held_out: share of the shards that is left out (`pipeline.data.shards.held_out_shards`).

    Raises `UserError` where there are no samples or too few for one batch.
    """

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        start_step: int = 0,
        held_out: float = 0.0,
    ) -> None:
        super().__init__()
        manifest = samples_manifest(folder)
        self.units = find_units(manifest, held_out)
        self.joint_types: int = manifest.settings["joints"]
        self.start_step = start_step
        try:
            self.order = Order([unit.rows for unit in self.units], batch_size * world, world, seed)
        except ValueError as error:
            raise UserError(f"{folder}: {error}; use a smaller batch_size or more images") from error
        share = self.order.lanes // world
        self.lanes = range(rank * share, (rank + 1) * share)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch, for every rank the same."""
        return self.order.steps

    def __iter__(self) -> Iterator[Batch]:
        """Batches; in a loader process, that process's part of each."""
        info = get_worker_info()
        part, parts = (info.id, info.num_workers) if info else (0, 1)
        lanes = np.array_split(np.asarray(self.lanes), parts)[part].tolist()
        epoch, step = divmod(self.start_step, self.order.steps)
        for now in count(epoch):
            streams = [self._lane(now, lane, step) for lane in lanes]
            for _ in range(step, self.order.steps):
                rows = [row for lane in streams for row in islice(lane, self.order.lane_rows)]
                yield collate(rows, self.order.seed, now, self.joint_types)
            step = 0

    def _lane(self, epoch: int, lane: int, step: int) -> Iterator[dict[str, Any]]:
        """Undecoded rows of one lane, holding the units of one window."""
        held: dict[int, pa.Table] = {}
        for window in self.order.windows(epoch, lane, step):
            needed = sorted({unit for unit, _ in window})
            held = {unit: held[unit] if unit in held else _read(self.units[unit]) for unit in needed}
            for unit, row in window:
                yield _row(held[unit], row)


def read_in_order(folder: Path, batch_size: int) -> Iterator[Batch]:
    """Every sample once, in the files' order, the last batch shorter; for validation."""
    rows: list[dict[str, Any]] = []
    manifest = samples_manifest(folder)
    joint_types = manifest.settings["joints"]
    for unit in find_units(manifest):
        table = _read(unit)
        for index in range(unit.rows):
            rows.append(_row(table, index))
            if len(rows) == batch_size:
                yield collate(rows, 0, 0, joint_types)
                rows = []
    if rows:
        yield collate(rows, 0, 0, joint_types)


def find_units(manifest: Manifest, held_out: float = 0.0) -> list[Unit]:
    """Row groups of the sample files that a manifest names, in its order, without the share held out."""
    files = manifest.files[: held_out_shards(manifest, held_out).start]
    with ThreadPoolExecutor() as pool:  # in a store each file is an answer to wait for
        units = pool.map(_units_of, files)
    return [unit for of_file in units for unit in of_file]


def _units_of(file: Path) -> list[Unit]:
    with open_parquet(file) as parquet:
        metadata = parquet.metadata
    return [Unit(file, group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups)]


def _read(unit: Unit) -> pa.Table:
    with open_parquet(unit.file) as file:
        return file.read_row_group(unit.group, columns=COLUMNS, use_threads=False)


def _row(table: pa.Table, index: int) -> dict[str, Any]:
    """One row; the large columns stay in Arrow's memory."""
    return {name: table[name][index] for name in COLUMNS}
