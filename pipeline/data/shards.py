"""Shards on disk: their names, their manifest, and reading them. Needs no Ray.

A folder of a stage holds part-00000.parquet and so on, beside each its manifest row as .json, and
manifest.json, which is there only while all shards are. Readers go by the manifest, not by what lies there.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.base.errors import UserError, first_line
from pipeline.base.files import write_json
from pipeline.base.s3 import sizes_below
from pipeline.data.rejects import Rejection, by_reason
from pipeline.data.rows import read_rows
from pipeline.settings.fingerprint import fingerprint

MANIFEST = "manifest.json"
ShardKind = Literal["records", "samples"]


class ShardRow(NamedTuple):
    """A shard's row in the manifest.

    Attributes:
        file: name in the stage's folder.
        rows: rows of the Parquet file.
        bytes, sha256: of the Parquet file.
        made_from: fingerprint of the inputs and settings that it was made from.
        counts: what was counted on the way, such as people.
        rejected: images left out of it.
    """

    shard: int
    file: str
    rows: int
    bytes: int
    sha256: str
    made_from: str
    counts: dict[str, int]
    rejected: list[Rejection]

    def as_json(self) -> dict[str, Any]:
        """The row as the file beside the shard keeps it."""
        return self._asdict() | {"rejected": [rejection._asdict() for rejection in self.rejected]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ShardRow":
        """The row that `as_json` gave."""
        return cls(**values | {"rejected": [Rejection(**rejection) for rejection in values["rejected"]]})


class Manifest(NamedTuple):
    """All shards of a stage and split.

    Attributes:
        fingerprint: of the content of all shards; the same wherever and by however many workers made.
        settings: what the rows were made with.
        counts: rows, and whatever else was counted.
        rejected: images left out, by reason.
        shards: each shard's row, its rejections by reason.
        folder: that it is in.
        files: the shards, in order.
    """

    stage: ShardKind
    split: str
    fingerprint: str
    settings: dict[str, Any]
    counts: dict[str, int]
    rejected: dict[str, int]
    shards: list[dict[str, Any]]
    folder: Path
    files: list[Path]


def stage_folder(run_root: Path, stage: ShardKind, split: str) -> Path:
    """Where a stage's shards of a split are kept."""
    return run_root / stage / split


def shard_file(shard: int) -> str:
    """The name of a shard's Parquet file."""
    return f"part-{shard:05d}.parquet"


def shard_number(path: Path) -> int:
    """The number of a shard by its Parquet file."""
    return int(path.stem.removeprefix("part-"))


def row_file(folder: Path, shard: int) -> Path:
    """Where a shard's manifest row is kept."""
    return (folder / shard_file(shard)).with_suffix(".json")


def write_manifest(
    folder: Path,
    stage: ShardKind,
    split: str,
    settings: dict[str, Any],
    shards: list[ShardRow],
    counts: dict[str, int],
    rejected: list[Rejection],
) -> Manifest:
    """Write manifest.json once every shard stands.

    Args:
        shards: the rows of all shards, in any order.
        counts, rejected: what was counted and left out before any shard was begun.
    """
    shards = sorted(shards)
    total = Counter(counts)
    total["rows"] += sum(row.rows for row in shards)
    for row in shards:
        total.update(row.counts)
    manifest = {
        "stage": stage,
        "split": split,
        "fingerprint": fingerprint({"shards": [row.sha256 for row in shards]}),
        "settings": settings,
        "counts": dict(sorted(total.items())),
        "rejected": by_reason(rejected + [rejection for row in shards for rejection in row.rejected]),
        "shards": [row._asdict() | {"rejected": by_reason(row.rejected)} for row in shards],
    }
    write_json(folder / MANIFEST, manifest)
    return _to_manifest(folder, manifest)


def records_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of records; `UserError` where preprocessing has not finished there."""
    return _checked_manifest(folder, "records")


def samples_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of samples; `UserError` where preprocessing has not finished there."""
    return _checked_manifest(folder, "samples")


def data_fingerprint(folder: Path) -> str:
    """What identifies the content of a folder of records or samples: 12 hexadecimal digits."""
    return _read_manifest(folder).fingerprint


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a folder of records (`rows.RECORD_SCHEMA`), by image id, a few in memory at a time."""
    return read_rows(records_manifest(folder).files)


def held_out_shards(manifest: Manifest, share: float) -> range:
    """The shards that are not trained on: the last ones, at least one where `share` is above 0.

    A shard of samples holds the views of the images of the shard of records of the same number.

    Raises `UserError` where no shard would be left.
    """
    folder, total = manifest.folder, len(manifest.shards)
    held = max(1, round(total * share)) if share else 0
    if total and held >= total:
        raise UserError(
            f"train.held_out={share:g}: {folder} has {total} shards, and none would be left to train on: "
            "lower it, or data.shard_images for more shards"
        )
    return range(total - held, total)


def _checked_manifest(folder: Path, stage: ShardKind) -> Manifest:
    manifest = _read_manifest(folder)
    if manifest.stage != stage:
        raise UserError(f"{folder} holds {manifest.stage}, not {stage}")
    size_of = sizes_below(folder)
    for file, row in zip(manifest.files, manifest.shards, strict=True):
        if size_of(file) != row["bytes"]:
            raise UserError(f"{file} is not the file that {MANIFEST} names: run jobs/preprocess.py again")
    return manifest


class _Shard(BaseModel):
    """What a manifest says of a shard."""

    shard: int = Field(ge=0)
    file: str = Field(pattern=r"^part-[0-9]{5,9}\.parquet$")
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str
    made_from: str
    counts: dict[str, int]
    rejected: dict[str, int]


class _Manifest(BaseModel):
    """What a manifest says; what it holds besides is an error, as it is in `Manifest`."""

    model_config = ConfigDict(extra="forbid")

    stage: ShardKind
    split: str
    fingerprint: str
    settings: dict[str, Any]
    counts: dict[str, int]
    rejected: dict[str, int]
    shards: list[_Shard]


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        _Manifest.model_validate(values, strict=True)
        return _to_manifest(folder, values)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not a manifest, or damaged ({_first_mistake(error)}): remove it and run "
            "jobs/preprocess.py with the same configuration, which keeps the shards that stand"
        ) from None
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {MANIFEST}; run jobs/preprocess.py with the same configuration first"
        ) from None


def _first_mistake(error: Exception) -> str:
    """The first thing that is wrong in it, in one line."""
    if not isinstance(error, ValidationError):
        return first_line(error)
    mistake = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(repr, mistake['loc']))}: {mistake['msg']}"


def _to_manifest(folder: Path, values: dict[str, Any]) -> Manifest:
    return Manifest(**values, folder=folder, files=[folder / row["file"] for row in values["shards"]])
