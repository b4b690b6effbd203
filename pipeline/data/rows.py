"""The columns of records and samples, and reading them one batch at a time. Needs no Ray.

Letters: J joint types (17), P people of an image, S side of the output maps in cells.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.errors import UserError, first_line
from pipeline.base.s3 import in_store

METADATA_KEY = b"hgg"
READ_ROWS = 32  # rows held at once by a reader

PERSON = pa.struct(
    [
        ("annotation_id", pa.int64()),
        ("keypoints", pa.list_(pa.float32())),  # J x (x, y, v) in original pixels, as COCO's
        ("box", pa.list_(pa.float32())),  # x, y, width, height in original pixels
        ("area", pa.float32()),  # original pixels squared
    ]
)
RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.binary())])  # as pycocotools takes it

RECORD_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file_name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("jpeg", pa.binary()),  # the file's bytes, untouched but where the picture was turned upright
        ("people", pa.list_(PERSON)),  # those with labelled joints that are not crowds
        ("ignore", RLE),  # crowds and people without labelled joints; 1 is ignored
    ]
)
SAMPLE_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("view", pa.int32()),  # 0 is un-augmented
        ("jpeg", pa.binary()),  # the network input, RGB once decoded, input_size x input_size
        ("heatmaps", pa.binary()),  # (J, S, S) uint8, 255 is 1.0
        ("mask", pa.binary()),  # (S, S) bits by `pack_mask`; 1 is supervised
        ("joints", pa.list_(pa.float32())),  # (P, J, 3); x, y in cells, flag 1 labelled and inside the map
        ("areas", pa.list_(pa.float32())),  # (P,) in cells squared
        ("transform", pa.list_(pa.float64())),  # (2, 3), original pixels to input pixels
    ]
)


def with_metadata(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    """The schema with facts about every row of its files (sizes, sigma, fingerprint), kept as JSON."""
    return schema.with_metadata({METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})


def read_metadata(schema: pa.Schema) -> dict[str, Any]:
    """The facts that `with_metadata` put into a file's schema."""
    return json.loads((schema.metadata or {})[METADATA_KEY])


def pack_mask(mask: np.ndarray) -> bytes:
    """Bits of a mask (S, S) of bool, row by row, eight to a byte, the first one highest."""
    return np.packbits(mask).tobytes()


def unpack_mask(packed: bytes, output_size: int) -> np.ndarray:
    """The mask (S, S) of uint8 0 and 1 that `pack_mask` packed."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=output_size**2)
    return bits.reshape(output_size, output_size)


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file for the length of a `with` block; of one in a store only what is read is fetched.

    Raises `UserError` where its bytes are not those that were written, as far as the pages that are read and
    their checksums tell (samples made since 2026-11-28 have them).
    """
    try:
        if not in_store(path):
            with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
                yield parquet
            return
        # Without buffering each column chunk is a request.
        with (
            path.open("rb") as file,
            pq.ParquetFile(file, pre_buffer=True, page_checksum_verification=True) as parquet,
        ):
            yield parquet
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if not _is_damage(error):
            raise
        raise UserError(
            f"{path}: damaged ({first_line(error)}): run jobs/preprocess.py with the same configuration, "
            "which writes it anew"
        ) from error


def _is_damage(error: Exception) -> bool:
    """Whether Arrow says that bytes make no sense; a missing file or a store's answer is something else."""
    return isinstance(error, pa.ArrowException | UnicodeDecodeError) or (
        type(error) is OSError and error.errno is None and "AWS Error" not in str(error)
    )


def read_rows(files: list[Path], batch_size: int = READ_ROWS) -> Iterator[dict[str, Any]]:
    """Every row of some Parquet files, in order, holding one batch in memory."""
    for file in files:
        with open_parquet(file) as parquet:
            for batch in parquet.iter_batches(batch_size, use_threads=False):
                yield from batch.to_pylist()
