"""Writing shards so that a killed job loses only those it was writing. Needs no Ray.

A shard's bytes come first, then its manifest row, each by rename. It stands as long as that row names its
bytes and the inputs and settings that are asked for; else it is written again.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.files import atomic_path, sha256_file, write_json
from pipeline.data.rejects import Rejection
from pipeline.data.shards import ShardKind, ShardRow, row_file, shard_file, shard_number
from pipeline.data.truth import stands as truth_stands
from pipeline.data.truth import truth_file

STALE = ".stale."  # dotted, as temporary files are, so that a listing of shards skips it


@dataclass
class Tally:
    """What is counted and left out on the way, and what is to be said of it."""

    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedShard:
    """A shard that is to be.

    Attributes:
        made_from: fingerprint of its inputs and settings.
        units: images or views that making it reads or writes, for rate and time left.
        inputs: what the stage's `write` needs besides, as Arrow can carry it.
        truth: of records, fingerprint of all that decides who is in them, which their truth bears
            (`pipeline.data.truth`).
    """

    shard: int
    made_from: str
    units: int
    inputs: dict[str, Any]
    truth: str = ""


@dataclass(frozen=True)
class ShardPlan:
    """The shards that one kind of data of a split is to have.

    Attributes:
        unit: what `PlannedShard.units` counts.
        source: file or folder that it is made from, for messages.
        settings: what the rows are made with.
        write: makes one shard, in whatever process.
        before: counted and left out before any shard is begun.
    """

    name: ShardKind
    split: str
    unit: str
    source: Path
    folder: Path
    settings: dict[str, Any]
    shards: list[PlannedShard]
    write: Callable[[PlannedShard], ShardRow]
    before: Tally


def write_shard(
    folder: Path,
    planned: PlannedShard,
    schema: pa.Schema,
    groups: Iterable[list[dict[str, Any]]],
    tally: Tally,
    *,
    checksums: bool = False,
) -> ShardRow:
    """Write a shard and then its manifest row, holding one row group in memory.

    Args:
        groups: the rows of each row group; making them fills `tally`.
        checksums: whether every page bears one, which reading compares.
    """
    path, rows = folder / shard_file(planned.shard), 0
    for leftover in folder.glob(f".*.{path.name}"):  # of a process that was killed while it wrote this
        leftover.unlink()
    # Dictionaries and statistics serve repeated or sorted values; pictures and maps are neither. Records are
    # without checksums of pages, so that their bytes, from which samples and runs have their names, stay.
    options = {
        "compression": "zstd",
        "use_dictionary": False,
        "write_statistics": ["image_id"],
        "write_page_checksum": checksums,
    }
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        for group in groups:
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=len(group))
            rows += len(group)
    row = ShardRow(
        shard=planned.shard,
        file=path.name,
        rows=rows,
        bytes=path.stat().st_size,
        sha256=sha256_file(path),
        made_from=planned.made_from,
        counts=dict(sorted(tally.counts.items())),
        rejected=sorted(tally.rejected),
    )
    write_json(row_file(folder, planned.shard), row.as_json())
    return row


def standing_row(folder: Path, planned: PlannedShard) -> ShardRow | None:
    """The manifest row of a shard that need not be written again, else None."""
    try:
        row = ShardRow.from_json(json.loads(row_file(folder, planned.shard).read_text(encoding="utf-8")))
        path = folder / row.file
        same = row.made_from == planned.made_from and path.stat().st_size == row.bytes
        same = same and (not planned.truth or truth_stands(folder, planned.shard, planned.truth))
        return row if same and sha256_file(path) == row.sha256 else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # never written, or not by this version
        return None


def set_aside(folder: Path, shards: int) -> list[Path]:
    """Rename the shards beyond a number of them, which an earlier run with more of them left.

    Returns their new paths; writing a shard of that number again removes it.
    """
    beyond = [path for path in folder.glob("part-*.parquet") if shard_number(path) >= shards]
    for path in beyond:
        path.with_suffix(".json").unlink(missing_ok=True)
        truth_file(folder, shard_number(path)).unlink(missing_ok=True)
    return sorted(path.replace(path.with_name(STALE + path.name)) for path in beyond)
