"""Fields of an annotation, checked one by one; one that is left out is derived from the others and counted.

Every function takes the `Counter` that it counts in, by the names of `pipeline.data.remarks`. Letters: J
joint types.
"""

from collections import Counter
from typing import Any

import numpy as np

from hgg.skeleton import BOX_SHARE
from pipeline.data.regions import box_and_area, to_regions
from pipeline.data.rejects import BadData
from pipeline.settings.formats import Dialect

BOX_TOLERANCE = 1.0  # pixels that a box may reach outside the picture: COCO rounds and some tools scale
FARTHEST = 1e6  # pixels: no photograph is so large
MOST_AREA = 100.0  # pictures: a person may reach out of one, but not so far
BOXLIKE = 0.98  # of its extent: a segmentation that fills it is a box, which many tools write for want of one
SHOWN = 40  # characters of a value in a message
NOBODY = ("0", "", "false")


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is of a crowd; without the field it is not. Raises `BadData`, `iscrowd`."""
    value = annotation.get("iscrowd")
    if isinstance(value, str) and value.lower() in (*NOBODY, "1", "true"):
        return value.lower() not in NOBODY
    if value not in (None, 0, 1):
        raise BadData("iscrowd", f"iscrowd is {repr(value)[:SHOWN]}, not 0 or 1")
    return bool(value)


def labels_of(keypoints: Any) -> list[Any]:
    """Whether each joint is labelled, by what the file says of it, flat or in triples.

    Raises `BadData`, `not_a_number`, where it is no list.
    """
    if keypoints is None:
        return []
    if not isinstance(keypoints, list):
        raise BadData("not_a_number", f"keypoints are {repr(keypoints)[:SHOWN]}, not a list of numbers")
    if keypoints and isinstance(keypoints[0], list):
        return [joint[2] if isinstance(joint, list) and len(joint) == 3 else True for joint in keypoints]
    return keypoints[2::3]


def joints_of(
    annotation: dict[str, Any], joint_types: int, counts: Counter[str], *, strict: bool
) -> np.ndarray:
    """(J, 3) x, y, v of each joint; all 0 where there are none, or another number of them and not `strict`.

    Raises `BadData`: `keypoints_length`, `not_a_number`, `out_of_range`.
    """
    given = annotation.get("keypoints")
    if given is None or given == []:
        return np.zeros((joint_types, 3))
    keypoints = _array(annotation, "keypoints")
    if keypoints.shape == (joint_types, 3):
        counts["keypoints_in_triples"] += 1
    elif keypoints.shape != (3 * joint_types,):
        if not strict:
            return np.zeros((joint_types, 3))
        shape = " x ".join(map(str, keypoints.shape))
        raise BadData("keypoints_length", f"{shape} numbers, not {joint_types} joints x (x, y, v)")
    joints_J3 = keypoints.reshape(joint_types, 3)
    nowhere_J = ~(joints_J3[:, 2] > 0) & np.isnan(joints_J3).any(axis=1)
    if nowhere_J.any():  # null where there is no joint
        counts["joints_null"] += 1
        joints_J3[nowhere_J] = 0
    return _checked(joints_J3, "keypoints")


def box_of(
    annotation: dict[str, Any],
    joints_J3: np.ndarray,
    size: tuple[int, int],
    corners: int,
    counts: Counter[str],
) -> np.ndarray:
    """(4,) x, y, width, height, inside the picture but for `BOX_TOLERANCE`.

    Where there is none it is that of the segmentation, else the extent of the labelled joints.

    Raises `BadData`: `missing_field`, `not_a_number`, `out_of_range`, `box_outside`.
    """
    if annotation.get("bbox") in (None, []):
        return _derived_box(annotation, joints_J3, size, corners, counts)
    box = _checked(_array(annotation, "bbox"), "bbox")
    if box.shape != (4,):
        raise BadData("box_outside", f"bbox of {box.size} numbers, not x, y, width, height")
    low, high = box[:2], box[:2] + box[2:]
    over = max((-low).max(), (high - size).max())
    where = f"bbox {box.tolist()} in a picture of {size[0]} x {size[1]}"
    if box[2:].min() < 0 or over > max(size):
        raise BadData("box_outside", where)
    if over <= BOX_TOLERANCE:
        return box
    low, high = low.clip(0, size), high.clip(0, size)
    if (high <= low).any():
        raise BadData("box_outside", where)
    counts["box_clipped"] += 1
    return np.concatenate([low, high - low])


def area_of(
    annotation: dict[str, Any],
    box: np.ndarray,
    size: tuple[int, int],
    dialect: Dialect,
    corners: int,
    counts: Counter[str],
    *,
    strict: bool,
) -> float:
    """Pixels that a person covers.

    Where the file does not say, they are those of the segmentation, else `BOX_SHARE` of the box. An area of 0
    says nothing of somebody with labelled joints (`strict`); of others it stays, as AP reads it.

    Raises `BadData`: `area`, `not_a_number`, `out_of_range`.
    """
    given = annotation.get("area")
    if dialect.box_share:
        area = np.asarray(dialect.box_share * box[2] * box[3])
    elif given is None or (strict and given == 0):
        area = np.asarray(_derived_area(annotation, box, size, corners, counts))
    else:
        area = _checked(_array(annotation, "area"), "area", FARTHEST**2)
    least = np.nextafter(0, 1) if strict else 0
    if area.ndim or not least <= area <= MOST_AREA * size[0] * size[1]:
        raise BadData(
            "area",
            f"area {str(area.tolist())[:SHOWN]} in a picture of {size[0]} x {size[1]}, where one positive "
            "number of pixels should stand",
        )
    return float(area)


def _derived_box(
    annotation: dict[str, Any],
    joints_J3: np.ndarray,
    size: tuple[int, int],
    corners: int,
    counts: Counter[str],
) -> np.ndarray:
    if annotation.get("segmentation"):
        counts["box_from_segmentation"] += 1
        return box_and_area(to_regions(annotation["segmentation"], None, *size, corners))[0]
    places = joints_J3[joints_J3[:, 2] > 0, :2].clip(0, size)
    extent = np.ptp(places, axis=0) if len(places) else np.zeros(2)
    if extent.min() <= 0:
        raise BadData("missing_field", "no bbox, and neither segmentation nor joints that it could be of")
    counts["box_from_joints"] += 1
    return np.concatenate([places.min(axis=0), extent])


def _derived_area(
    annotation: dict[str, Any], box: np.ndarray, size: tuple[int, int], corners: int, counts: Counter[str]
) -> float:
    if annotation.get("segmentation"):
        extent, area = box_and_area(to_regions(annotation["segmentation"], box, *size, corners))
        if 0 < area < BOXLIKE * extent[2] * extent[3]:
            counts["area_from_segmentation"] += 1
            return area
    counts["area_from_box"] += 1
    return float(BOX_SHARE * box[2] * box[3])


def _array(annotation: dict[str, Any], field: str) -> np.ndarray:
    """A field as numbers; null is not a number."""
    try:
        return np.array(annotation[field], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadData("not_a_number", f"{field} holds something else than numbers") from None


def _checked(numbers: np.ndarray, field: str, most: float = FARTHEST) -> np.ndarray:
    """The numbers, where each is one that a picture can have."""
    if not np.isfinite(numbers).all():
        raise BadData("not_a_number", f"{field} holds a number that is not finite")
    if numbers.size and np.abs(numbers).max() > most:
        raise BadData("out_of_range", f"{field} holds {np.abs(numbers).max():g}, more than any picture has")
    return numbers
