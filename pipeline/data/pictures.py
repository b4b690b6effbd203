"""Pictures from bytes and back, strict about damage and silent about everything else."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from pipeline.base.files import atomic_path
from pipeline.data.rejects import BadData

JPEG_START, SCAN_START, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# Annotations refer to the pixels as they are stored, so the camera's orientation tag is not followed.
AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
UPRIGHT = cv2.IMREAD_COLOR_RGB
STDERR = 2


def decode_picture(data: bytes, *, upright: bool = False) -> np.ndarray:
    """Decode a JPEG (or another format that OpenCV reads) into (H, W, 3) uint8 RGB, as stored.

    Args:
        upright: turn the picture as its orientation tag says, for photographs that have no annotations.

    Raises `BadData`: `empty_file`; `truncated`, a JPEG without its end; `damaged`, a JPEG whose coded
    data end early or make no sense, so that a part of the picture is grey; `not_decodable`, anything else.
    """
    if not data:
        raise BadData("empty_file", "0 bytes")
    # Coded data cannot hold these markers, and a thumbnail with its own end comes before the last scan.
    if data.startswith(JPEG_START) and data.rfind(JPEG_END) < data.rfind(SCAN_START):
        raise BadData("truncated", f"no end marker in {len(data)} bytes of JPEG")
    with _stderr_to_file() as complaints:
        picture = _decode(data, UPRIGHT if upright else AS_STORED)
        complaints.seek(0)
        complaint = complaints.read().decode(errors="replace").strip()
    if picture is None:
        raise BadData("not_decodable", f"{len(data)} bytes that begin with {data[:4]!r}")
    # Some extra bytes between two segments lose nothing of the picture.
    if "Corrupt JPEG data" in complaint and "extraneous" not in complaint:
        raise BadData("damaged", complaint)
    return picture


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG of a quality from 1 to 100."""
    blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, picture.shape
    return data.tobytes()


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    """The picture, or None where OpenCV cannot read it; OpenCV has two ways to say so."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


@contextmanager
def _stderr_to_file() -> Iterator[IO[bytes]]:
    """Catch what C code writes to stderr: the JPEG library reports damage there and nowhere else."""
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), STDERR)
        try:
            yield file
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an RGB image as PNG, whole or not at all."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, picture.shape
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
