"""Pictures from bytes and back, strict about damage and silent about everything else."""

import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import cv2
import numpy as np

JPEG_START, SCAN_START, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# Annotations refer to the pixels as they are stored, so the camera's orientation tag is not followed.
AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
UPRIGHT = cv2.IMREAD_COLOR_RGB
STDERR = 2
ORIENTATION = 0x0112  # EXIF's number of the tag
LONGEST_SIDE = 1_000_000  # that PNG's library reads and writes
LONGEST_JPEG_SIDE = 65_500  # that JPEG's library writes
HEADERS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "SUN")
"""Formats whose size Pillow reads from their header, by its names: those that OpenCV decodes."""


class Unusable(ValueError):
    """Something of the user's that cannot be used.

    Attributes:
        reason: one word or two joined by an underscore, the same for all of a kind: what is counted.
        detail: what was found and what was expected.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadPicture(Unusable):
    """A picture that cannot be used."""


def decode_picture(data: bytes, *, upright: bool = False, max_pixels: int | None = None) -> np.ndarray:
    """Decode a JPEG (or another format that OpenCV reads) into (H, W, 3) uint8 RGB, as stored.

    Args:
        data: the file.
        upright: turn the picture as its orientation tag says, for photographs that have no annotations.
        max_pixels: width x height that is decoded at the most, with sides up to `LONGEST_SIDE`; None is no
            limit.

    Raises `BadPicture`: `empty_file`; `too_large`, more pixels than `max_pixels`, by the header and before
    memory is taken; `truncated`, a JPEG without its end; `damaged`, a JPEG whose coded data end early or make
    no sense, so that a part of the picture is grey; `not_decodable`, anything else, and under `max_pixels` a
    file whose header tells no size.
    """
    if not data:
        raise BadPicture("empty_file", "0 bytes")
    if max_pixels is not None:
        _check_size(data, max_pixels)
    # Coded data cannot hold these markers, and a thumbnail with its own end comes before the last scan.
    if data.startswith(JPEG_START) and data.rfind(JPEG_END) < data.rfind(SCAN_START):
        raise BadPicture("truncated", f"no end marker in {len(data)} bytes of JPEG")
    with stderr_to_file() as complaints:
        picture = _decode(data, UPRIGHT if upright else AS_STORED)
        complaints.seek(0)
        complaint = complaints.read().decode(errors="replace").strip()
    if picture is None:
        raise BadPicture("not_decodable", f"{len(data)} bytes that begin with {data[:4]!r}")
    # Some extra bytes between two segments lose nothing of the picture.
    if "Corrupt JPEG data" in complaint and "extraneous" not in complaint:
        raise BadPicture("damaged", complaint)
    return picture


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the stored picture by the file's header; None where no header tells them.

    Nothing is decoded, whatever size is declared, and nothing is printed.

    Raises `BadPicture`: `too_large`, a WebP of more pixels than Pillow opens, 178,956,970.
    """
    # Imported here as records, which are whole and small, are decoded without.
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which do not matter here
        for name in HEADERS:
            # `Image.open` does the same, but refuses large pictures by a limit of its own, which is global.
            opener, accepts = Image.OPEN.get(name, (None, None))
            # A text in place of a truth value says why this build of Pillow cannot read the format.
            if opener is None or accepts is None or accepts(data[:16]) is not True:
                continue
            try:
                with opener(io.BytesIO(data), "") as header:
                    return header.size
            except Image.DecompressionBombError as error:
                raise BadPicture("too_large", str(error)) from error
            except Exception:  # readers stumble over a broken header in every way that there is
                continue
    return None


def orientation_tag(data: bytes) -> int:
    """EXIF's Orientation of a JPEG, 1 to 8: how it is turned upright; 1, as it is, where it has none."""
    from PIL import JpegImagePlugin

    if not data.startswith(JPEG_START):
        return 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as header:
                tag = header.getexif().get(ORIENTATION, 1)
        except Exception:  # as of `picture_size`; the picture itself is checked by decoding it
            return 1
    return tag if tag in range(1, 9) else 1


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG of a quality from 1 to 100."""
    blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, picture.shape
    return data.tobytes()


def encode_png(picture: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as PNG."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, picture.shape
    return data.tobytes()


def _check_size(data: bytes, max_pixels: int) -> None:
    size = picture_size(data)
    if size is None:
        raise BadPicture(
            "not_decodable", f"{len(data)} bytes that begin with {data[:4]!r}: no header with a size"
        )
    width, height = size
    if width * height > max_pixels or max(size) > LONGEST_SIDE:
        limit = max_pixels if width * height > max_pixels else f"{LONGEST_SIDE} a side"
        raise BadPicture("too_large", f"{width} x {height} pixels, more than {limit}")


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    """The picture, or None where OpenCV cannot read it; OpenCV has two ways to say so."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


@contextmanager
def stderr_to_file() -> Iterator[IO[bytes]]:
    """Catch what C code writes to stderr: the JPEG library reports damage there and nowhere else."""
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), STDERR)
        try:
            yield file
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
