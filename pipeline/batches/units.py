"""Row groups of samples as numpy views of what Arrow read: a row costs no copy before it is decoded.

Letters: N rows, J joint types, S output cells.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.base.errors import UserError
from pipeline.data.rows import open_parquet
from pipeline.data.shards import Manifest, held_out_shards

COLUMNS = ["image_id", "view", "jpeg", "heatmaps", "mask", "joints", "areas"]


class Unit(NamedTuple):
    """What is read at once: a row group of a file."""

    file: Path
    group: int
    rows: int
    first: int
    """Row of the file (counted from 0) that it begins with."""


class SampleShape(NamedTuple):
    """What every sample of a folder measures."""

    input_size: int
    """Side of the square JPEG in pixels."""
    output_size: int
    """S, side of the maps in cells."""
    joint_types: int
    """J."""

    @classmethod
    def of(cls, manifest: Manifest) -> "SampleShape":
        """That of the samples that a manifest names."""
        settings = manifest.settings
        return cls(settings["input_size"], settings["output_size"], settings["joints"])


class Ragged(NamedTuple):
    """N rows of a column whose values are of any length, end to end."""

    values: np.ndarray
    offsets: np.ndarray  # (N + 1,)

    def row(self, index: int) -> np.ndarray:
        """The values of one row."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def first_without(self, lengths: np.ndarray | int) -> int | None:
        """The first row that has not so many values; None where all have."""
        wrong = np.flatnonzero(np.diff(self.offsets) != lengths)
        return int(wrong[0]) if wrong.size else None


class Rows(NamedTuple):
    """A unit that has been read, column by column (`pipeline.data.rows.SAMPLE_SCHEMA`)."""

    unit: Unit
    image_ids: np.ndarray
    """(N,) int64."""
    views: np.ndarray
    """(N,) int32."""
    jpegs: Ragged
    """uint8."""
    heatmaps: Ragged
    """uint8, (J, S, S) of each row."""
    masks: Ragged
    """uint8, (S, S) bits of each row, as `pipeline.data.rows.pack_mask` packs them."""
    joints: Ragged
    """float32, (P, J, 3) of each row's P people."""
    areas: Ragged
    """float32, (P,)."""

    def damage(self, row: int, what: str) -> UserError:
        """The error that says which row of which file is not what was written."""
        return UserError(
            f"{self.place(row)}: {what}: run jobs/preprocess.py with the same configuration, "
            "which writes the file anew"
        )

    @contextmanager
    def named(self, row: int) -> Iterator[None]:
        """Whatever is raised within bears a note that says at which row; a `UserError` says so itself."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            error.add_note(f"at {self.place(row)}")
            raise

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        image = f"image {self.image_ids[row]}, view {self.views[row]}"
        return f"row {self.unit.first + row} of {self.unit.file} ({image})"


def read_unit(unit: Unit, shape: SampleShape) -> Rows:
    """Read and decompress a row group; for most of the time the interpreter's lock is not held.

    Raises `UserError`, with file and rows, where the bytes are damaged or a row measures something else
    than `shape`. What else goes wrong (a missing file, a store's answer) bears a note that says where.
    """
    where = f"rows {unit.first} to {unit.first + unit.rows - 1} of"
    try:
        with open_parquet(unit.file) as file:
            table = file.read_row_group(unit.group, columns=COLUMNS, use_threads=False)
    except UserError as error:  # its text begins with the file's name
        raise UserError(f"{where} {error}") from error
    except Exception as error:
        error.add_note(f"while reading {where} {unit.file}")
        raise
    rows = Rows(
        unit,
        image_ids=_column(table, "image_id").to_numpy(),
        views=_column(table, "view").to_numpy(),
        jpegs=_binary(table, "jpeg"),
        heatmaps=_binary(table, "heatmaps"),
        masks=_binary(table, "mask"),
        joints=_lists(table, "joints"),
        areas=_lists(table, "areas"),
    )
    return _checked(rows, shape)


def _checked(rows: Rows, shape: SampleShape) -> Rows:
    """The rows, if each has what a sample of this shape has."""
    joint_types, side = shape.joint_types, shape.output_size
    joints = np.diff(rows.areas.offsets) * joint_types * 3
    expected: tuple[tuple[Ragged, np.ndarray | int, str], ...] = (
        (rows.heatmaps, joint_types * side * side, f"not {joint_types} heatmaps of {side} x {side} cells"),
        (rows.masks, (side * side + 7) // 8, f"no mask of {side} x {side} cells"),
        (rows.joints, joints, f"not {joint_types} joints for each of the areas"),
    )
    for column, lengths, what in expected:
        wrong = column.first_without(lengths)
        if wrong is not None:
            raise rows.damage(wrong, what)
    return rows


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _binary(table: pa.Table, name: str) -> Ragged:
    column = _column(table, name)
    _, offsets, values = column.buffers()
    places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return Ragged(np.frombuffer(values, np.uint8) if values else np.empty(0, np.uint8), places)


def _lists(table: pa.Table, name: str) -> Ragged:
    column = _column(table, name)
    return Ragged(column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy())


def find_units(manifest: Manifest, held_out: float = 0.0) -> list[Unit]:
    """Row groups of the sample files that a manifest names, in its order, without the share held out."""
    files = manifest.files[: held_out_shards(manifest, held_out).start]
    with ThreadPoolExecutor() as pool:  # in a store each file is an answer to wait for
        units = pool.map(_units_of, files)
    return [unit for of_file in units for unit in of_file]


def _units_of(file: Path) -> list[Unit]:
    with open_parquet(file) as parquet:
        metadata = parquet.metadata
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    first = accumulate(rows, initial=0)
    return [Unit(file, group, *of_group) for group, of_group in enumerate(zip(rows, first, strict=False))]
