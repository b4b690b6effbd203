"""Segmentations of COCO annotations as run-length masks (RLE), checked before C code reads them.

An RLE is pycocotools' {"size": [height, width], "counts": bytes}.
"""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from pipeline.data.rejects import BadData

POLYGON_NUMBERS = 6  # x, y of three corners
CHARACTER_BITS = 5  # of a run length in each character of a compressed RLE
CHARACTER_ZERO = 48
RUN_BITS = 65  # 13 characters, which hold any 64
LONGEST = 10_000_000  # pixels around a polygon; pycocotools takes 40 bytes for each

Rle = dict[str, Any]


def union(regions: list[Any], width: int, height: int) -> Rle:
    """One RLE that covers all regions of a picture; without any, one that covers nothing."""
    if not regions:
        return _encode({"size": [height, width], "counts": [height * width]}, width, height)
    return dict(coco_mask.merge(regions))


def to_regions(segmentation: Any, box: np.ndarray | None, width: int, height: int, corners: int) -> list[Rle]:
    """The RLEs of one annotation in a picture of width x height; the box where it has no segmentation.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...] or one alone, corners flat or in pairs, empty ones
            among them or not; an RLE with counts as numbers or as text; or nothing ([], {} or None).
        box: x, y, width, height in pixels; None where there must be a segmentation.
        corners: of all polygons, or runs of the RLE, at the most (`data.max_corners`).

    Raises `BadData`, reason `segmentation`, for anything else.
    """
    if isinstance(segmentation, dict) and segmentation:
        return [_checked_rle(segmentation, width, height, corners)]
    if segmentation and not isinstance(segmentation, list):
        raise BadData("segmentation", f"{type(segmentation).__name__} is neither polygons nor RLE")
    if segmentation and isinstance(segmentation[0], int | float):
        segmentation = [segmentation]
    polygons = [polygon for polygon in segmentation or [] if polygon != []]
    if not polygons:
        if box is None:
            raise BadData("segmentation", "no polygon has a corner")
        x, y, w, h = box
        polygons = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    checked = [_checked_polygon(polygon, width, height, corners) for polygon in polygons]
    if sum(map(len, checked)) > 2 * corners:
        raise BadData("segmentation", f"polygons of {sum(map(len, checked)) // 2} corners: {_most(corners)}")
    return _encode(checked, width, height)


def box_and_area(regions: list[Rle]) -> tuple[np.ndarray, float]:
    """Box (4,) x, y, width, height, and pixels, of the regions of one annotation."""
    whole: Any = coco_mask.merge(regions)  # pyrefly: ignore[bad-argument-type]  # RLEs
    return np.asarray(coco_mask.toBbox(whole), np.float64), float(coco_mask.area(whole))


def to_mask(rle: Any) -> np.ndarray:
    """The region (H, W) as uint8, 1 inside; by rows in memory, where pycocotools has it by columns."""
    return cv2.transpose(np.asarray(coco_mask.decode(rle), np.uint8).T)


def _encode(shape: Any, width: int, height: int) -> Any:
    """The RLE of run lengths, or the RLEs of polygons."""
    return coco_mask.frPyObjects(shape, height, width)


def _checked_polygon(polygon: Any, width: int, height: int, corners: int) -> list[float]:
    """The polygon, cut well outside the picture, where pycocotools can walk along it.

    It takes every fifth of a pixel of every edge, however far, and counts them in 32 bits.
    """
    if isinstance(polygon, list) and len(polygon) > 2 * corners:
        raise BadData("segmentation", f"a polygon of {len(polygon) // 2} corners: {_most(corners)}")
    try:
        places = np.array(polygon, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadData("segmentation", "a polygon that is not a list of numbers") from None
    if places.ndim == 2 and places.shape[1] == 2:  # corners in pairs
        places = places.ravel()
    if places.ndim != 1 or len(places) < POLYGON_NUMBERS or len(places) % 2:
        raise BadData("segmentation", f"a polygon of shape {places.shape}: three corners x, y or more")
    if not np.isfinite(places).all():
        raise BadData("segmentation", "a polygon with a number that is not finite")
    places[0::2] = places[0::2].clip(-width, 2 * width)
    places[1::2] = places[1::2].clip(-height, 2 * height)
    around = np.abs(np.diff(places.reshape(-1, 2), axis=0, append=places[None, :2])).max(axis=1).sum()
    if around > LONGEST:
        raise BadData("segmentation", f"a polygon of {around:.0f} pixels around, more than {LONGEST}")
    return places.tolist()


def _checked_rle(rle: dict[str, Any], width: int, height: int, corners: int) -> Rle:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise BadData("segmentation", f"RLE of size {size!r:.40} in a picture of {[height, width]}")
    if isinstance(counts, str):
        runs = list(_run_lengths(counts, corners))
    elif isinstance(counts, list) and all(isinstance(run, int) for run in counts):
        runs = counts
    else:
        raise BadData("segmentation", f"RLE counts of type {type(counts).__name__}")
    if len(runs) > corners:
        raise BadData("segmentation", f"RLE of {len(runs)} runs: {_most(corners)}")
    if any(run < 0 for run in runs) or sum(runs) != width * height:
        raise BadData("segmentation", f"RLE covers {sum(runs)} of {width * height} pixels")
    # pycocotools merges two masks in memory for as many runs as there are pixels, and writes past it.
    if not all(runs[1:]):
        raise BadData("segmentation", f"RLE with an empty run among its {len(runs)}")
    return _encode({"size": [height, width], "counts": runs}, width, height)


def _most(corners: int) -> str:
    return f"data.max_corners={corners} are allowed"


def _run_lengths(text: str, most: int) -> Iterable[int]:
    """Run lengths of a compressed RLE: signed numbers, lowest bits first, 5 bits a character.

    At the most one more than `most` of them are read.

    From the fourth run on a number is the difference to the run two before. pycocotools writes past its
    memory where the runs do not add up to the picture, so they are read here first.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - CHARACTER_ZERO
        if not 0 <= code < 2 << CHARACTER_BITS:
            raise BadData("segmentation", f"RLE with the character {character!r}")
        more, negative = code & 32, code & 16
        value |= (code & 31) << shift
        shift += CHARACTER_BITS
        if shift > RUN_BITS:  # Python would make a number of any length
            raise BadData("segmentation", "RLE with a run of more than 64 bits")
        if more:
            continue
        if negative:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        if len(runs) > most:
            return runs
        value = shift = 0
    if shift:
        raise BadData("segmentation", "RLE that ends inside a number")
    return runs
