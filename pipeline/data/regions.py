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

Rle = dict[str, Any]


def union(regions: list[Any], width: int, height: int) -> Rle:
    """One RLE that covers all regions of a picture; without any, one that covers nothing."""
    if not regions:
        return _encode({"size": [height, width], "counts": [height * width]}, width, height)
    return dict(coco_mask.merge(regions))


def to_regions(segmentation: Any, box: np.ndarray, width: int, height: int) -> list[Rle]:
    """The RLEs of one annotation in a picture of width x height; the box where it has no segmentation.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...], an RLE with counts as numbers or as text,
            or nothing ([] or None).
        box: x, y, width, height in pixels.

    Raises `BadData`, reason `segmentation`, for anything else.
    """
    if isinstance(segmentation, dict):
        return [_checked_rle(segmentation, width, height)]
    if not segmentation:
        x, y, w, h = box
        segmentation = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if not isinstance(segmentation, list):
        raise BadData("segmentation", f"{type(segmentation).__name__} is neither polygons nor RLE")
    polygons = [_checked_polygon(polygon, width, height) for polygon in segmentation]
    return _encode(polygons, width, height)


def to_mask(rle: Any) -> np.ndarray:
    """The region (H, W) as uint8, 1 inside; by rows in memory, where pycocotools has it by columns."""
    return cv2.transpose(np.asarray(coco_mask.decode(rle), np.uint8).T)


def _encode(shape: Any, width: int, height: int) -> Any:
    """The RLE of run lengths, or the RLEs of polygons."""
    return coco_mask.frPyObjects(shape, height, width)


def _checked_polygon(polygon: Any, width: int, height: int) -> list[float]:
    """The polygon cut well outside the picture: pycocotools walks every pixel of an edge, however far."""
    try:
        corners = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        raise BadData("segmentation", "a polygon that is not a list of numbers") from None
    if corners.ndim != 1 or len(corners) < POLYGON_NUMBERS or len(corners) % 2:
        raise BadData("segmentation", f"a polygon of shape {corners.shape}: three corners x, y or more")
    if not np.isfinite(corners).all():
        raise BadData("segmentation", "a polygon with a number that is not finite")
    corners[0::2] = corners[0::2].clip(-width, 2 * width)
    corners[1::2] = corners[1::2].clip(-height, 2 * height)
    return corners.tolist()


def _checked_rle(rle: dict[str, Any], width: int, height: int) -> Rle:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise BadData("segmentation", f"RLE of size {size} in a picture of {[height, width]}")
    if isinstance(counts, str):
        runs = list(_run_lengths(counts))
    elif isinstance(counts, list) and all(isinstance(run, int) for run in counts):
        runs = counts
    else:
        raise BadData("segmentation", f"RLE counts of type {type(counts).__name__}")
    if any(run < 0 for run in runs) or sum(runs) != width * height:
        raise BadData("segmentation", f"RLE covers {sum(runs)} of {width * height} pixels")
    # pycocotools merges two masks in memory for as many runs as there are pixels, and writes past it.
    if not all(runs[1:]):
        raise BadData("segmentation", f"RLE with an empty run among its {len(runs)}")
    return _encode({"size": size, "counts": runs}, width, height)


def _run_lengths(text: str) -> Iterable[int]:
    """Run lengths of a compressed RLE: signed numbers, lowest bits first, 5 bits a character.

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
        if more:
            continue
        if negative:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise BadData("segmentation", "RLE that ends inside a number")
    return runs
