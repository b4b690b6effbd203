"""The person annotations of one image, checked, as a record keeps them: people, and a region to ignore."""

import json
from typing import Any

import numpy as np

from pipeline.data.regions import Rle, to_regions, union
from pipeline.data.rejects import BadData
from pipeline.settings.formats import COCO_DIALECT, Dialect

BOX_TOLERANCE = 1.0  # pixels that a box may reach outside the picture: COCO rounds and some tools scale
FIELDS = ("keypoints", "num_keypoints", "bbox", "area")


def is_person(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is a person with labelled joints, as far as it can be told before the checks.

    What contradicts itself counts as one, so that it is looked at.
    """
    if annotation.get("iscrowd"):
        return False
    keypoints = annotation.get("keypoints")
    return bool(annotation.get("num_keypoints")) or not isinstance(keypoints, list) or any(keypoints[2::3])


def people_and_ignored(
    texts: list[str], width: int, height: int, dialect: Dialect = COCO_DIALECT
) -> tuple[list[dict[str, Any]], Rle]:
    """Read and check an image's annotations.

    Args:
        texts: each annotation as JSON.
        width, height: size of the picture in pixels.
        dialect: the data set's.

    Returns: people with labelled joints that are not crowds, as rows of `rows.PERSON`; and the union of the
        crowds and of the people without labelled joints (HigherHRNet's mask), as an RLE.

    Raises `BadData` for the first annotation that contradicts itself or the picture: `missing_field`,
    `not_a_number`, `keypoints_length`, `num_keypoints`, `box_outside`, `area`, `segmentation`.
    """
    people, regions = [], []
    for text in texts:
        annotation = json.loads(text)
        try:
            if is_person(annotation):
                people.append(_person(annotation, width, height, dialect))
            else:
                box = _box(annotation, width, height)
                regions += to_regions(annotation.get("segmentation"), box, width, height)
        except BadData as error:
            raise BadData(error.reason, f"annotation {annotation.get('id')}: {error.detail}") from None
    return people, union(regions, width, height)


def _person(annotation: dict[str, Any], width: int, height: int, dialect: Dialect) -> dict[str, Any]:
    needed = [field for field in FIELDS if field != "area" or not dialect.box_share]
    missing = [field for field in needed if field not in annotation]
    if missing:
        raise BadData("missing_field", f"no {', '.join(missing)}")
    return {
        "annotation_id": annotation["id"],
        "keypoints": _keypoints(annotation, dialect).tolist(),
        "box": (box := _box(annotation, width, height)).tolist(),
        "area": _area(annotation, box, dialect),
    }


def _keypoints(annotation: dict[str, Any], dialect: Dialect) -> np.ndarray:
    """(3 J,) x, y, v of each joint."""
    keypoints = _numbers(annotation, "keypoints")
    if keypoints.shape != (3 * dialect.joints,):
        raise BadData("keypoints_length", f"{keypoints.size} numbers, not {dialect.joints} x (x, y, v)")
    labelled = int((keypoints[2::3][: dialect.counted] > 0).sum())
    if labelled != annotation["num_keypoints"]:
        raise BadData("num_keypoints", f"{annotation['num_keypoints']}, but {labelled} joints are labelled")
    return keypoints


def _box(annotation: dict[str, Any], width: int, height: int) -> np.ndarray:
    """(4,) x, y, width, height."""
    if "bbox" not in annotation:
        raise BadData("missing_field", "no bbox")
    box = _numbers(annotation, "bbox")
    if box.shape != (4,):
        raise BadData("box_outside", f"box of {box.size} numbers, not x, y, width, height")
    x, y, w, h = box
    over = max(-x, -y, x + w - width, y + h - height)
    if min(w, h) < 0 or over > BOX_TOLERANCE:
        raise BadData("box_outside", f"box {box.tolist()} in a picture of {width} x {height}")
    return box


def _area(annotation: dict[str, Any], box: np.ndarray, dialect: Dialect) -> float:
    """Pixels that the person covers."""
    share = dialect.box_share
    area = np.asarray(share * box[2] * box[3]) if share else _numbers(annotation, "area")
    if area.ndim or area <= 0:
        raise BadData("area", f"{area.tolist()} where one positive number of pixels should stand")
    return float(area)


def _numbers(annotation: dict[str, Any], field: str) -> np.ndarray:
    """A field as finite numbers."""
    try:
        numbers = np.asarray(annotation[field], np.float64)
    except (TypeError, ValueError):
        raise BadData("not_a_number", f"{field} holds something else than numbers") from None
    if not np.isfinite(numbers).all():
        raise BadData("not_a_number", f"{field} holds a number that is not finite")
    return numbers
