"""What somebody may send to an endpoint that takes pictures, and that is none, or not a whole one."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from hgg.pictures import encode_jpeg, encode_png
from tests.cases.pictures import empty_png


class Upload(NamedTuple):
    """A request's body and headers."""

    body: bytes
    headers: dict[str, str]


def malformed_uploads(number: int, seed: int = 7) -> Iterator[Upload]:
    """Pictures with bytes overwritten, cut off, of too many pixels, of other types, with large headers."""
    rng = np.random.default_rng(seed)
    grey = np.full((40, 60, 3), 90, np.uint8)
    noise = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    good = [encode_jpeg(noise, 90), encode_png(grey), cv2.imencode(".webp", grey)[1].tobytes()]
    # A thousand times larger than their files, and a header that promises what is not there.
    bombs = [empty_png(9_000, 9_000), empty_png(60_000, 900), _promising(good[1])]
    for place in range(number):
        kind, one = place % 5, bytearray(good[place % 3])
        start = int(rng.integers(0, len(one)))
        headers = {"Content-Type": "image/jpeg"}
        match kind:
            case 0:
                one[start : start + 8] = rng.integers(0, 256, 8, dtype=np.uint8).tobytes()
            case 1:
                one = one[: max(1, start)]
            case 2:
                one = bytearray(bombs[place // 5 % len(bombs)])
            case 3:
                headers["Content-Type"] = ("text/plain", "application/json", "multipart/form-data")[place % 3]
            case _:
                headers["X-Large"] = "x" * int(rng.integers(1_000, 200_000))
        yield Upload(bytes(one), headers)


def _promising(png: bytes) -> bytes:
    """The same PNG, whose header says that it is 4,000 pixels wide; its checksum is wrong then."""
    return png[:16] + (4000).to_bytes(4, "big") + png[20:]
