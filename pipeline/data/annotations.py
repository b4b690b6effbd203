"""The person annotations of one image, checked, as a record keeps them: people, and a region to ignore.

What an annotation leaves out and can be told from the rest of it is derived (`pipeline.data.derived`) and
counted; what contradicts itself or the picture is `BadData`. Letters: J joint types.
"""

import json
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from pipeline.data.derived import area_of, box_of, is_crowd, joints_of, labels_of
from pipeline.data.regions import Rle, to_regions, union
from pipeline.data.rejects import BadData
from pipeline.settings.data import DataConfig
from pipeline.settings.formats import COCO_DIALECT, Dialect

FIELDS = ("keypoints", "num_keypoints", "bbox", "area")
FAR = 0.5  # of a box's longer side: a joint that is further outside of it than that is not in it
TINY = 2.0  # pixels


class Labelled(NamedTuple):
    """The people of an image."""

    people: list[dict[str, Any]]
    """Those with labelled joints that are not crowds, as rows of `rows.PERSON`."""
    ignore: Rle
    """The union of the crowds and of the people without labelled joints (HigherHRNet's mask)."""
    truth: list[dict[str, Any]]
    """All of them as AP needs them, in the order of the annotations: COCO's fields `keypoints`,
    `num_keypoints`, `bbox`, `area` and `iscrowd`."""
    counts: Counter[str]
    """What was derived, and what is odd, by the names of `pipeline.data.remarks`."""


def is_person(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is a person with labelled joints, as far as it can be told before the checks.

    What contradicts itself counts as one, so that it is looked at.
    """
    try:
        return not is_crowd(annotation) and any(labels_of(annotation.get("keypoints")))
    except BadData:
        return True


def people_and_ignored(
    texts: list[str],
    width: int,
    height: int,
    dialect: Dialect = COCO_DIALECT,
    limits: DataConfig | None = None,
) -> Labelled:
    """Read and check an image's annotations.

    Args:
        texts: each annotation as JSON.
        width, height: size of the picture in pixels.
        dialect: the data set's.
        limits: the settings that say how many annotations and corners are believed.

    Raises `BadData` for the first annotation that contradicts itself or the picture: `missing_field`,
    `not_a_number`, `out_of_range`, `keypoints_length`, `iscrowd`, `box_outside`, `area`, `segmentation`; or
    for more of them than `data.max_people`: `too_many_people`.
    """
    limits = limits or DataConfig()
    if len(texts) > limits.max_people:
        raise BadData(
            "too_many_people", f"{len(texts)} of them, more than data.max_people={limits.max_people}"
        )
    found = Labelled([], {}, [], Counter())
    regions: list[Rle] = []
    for text in texts:
        annotation = json.loads(text)
        try:
            regions += _add(found, annotation, (width, height), dialect, limits.max_corners)
        except BadData as error:
            raise BadData(error.reason, f"annotation {annotation.get('id')}: {error.detail}") from None
    return found._replace(ignore=union(regions, width, height))


def _add(
    found: Labelled, annotation: dict[str, Any], size: tuple[int, int], dialect: Dialect, corners: int
) -> list[Rle]:
    """Add an annotation to what was found; returns the regions that are to be ignored for it."""
    counts, crowd = found.counts, is_crowd(annotation)
    counts["no_iscrowd"] += annotation.get("iscrowd") is None
    joints_J3 = joints_of(annotation, dialect.joints, counts, strict=is_person(annotation))
    person = not crowd and bool((joints_J3[:, 2] > 0).any())
    labelled = int((joints_J3[: dialect.counted, 2] > 0).sum())
    if annotation.get("num_keypoints") != labelled and not crowd:
        counts["num_keypoints_counted"] += 1
    box = box_of(annotation, joints_J3, size, corners, counts)
    area = area_of(annotation, box, size, dialect, corners, counts, strict=person)
    found.truth.append(
        {
            "keypoints": joints_J3.ravel().tolist(),
            "num_keypoints": labelled,
            "bbox": box.tolist(),
            "area": area,
            "iscrowd": int(crowd),
        }
    )
    if not person:
        counts["people_without_joints"] += not crowd
        return to_regions(annotation.get("segmentation"), box, *size, corners)
    counts["joints_far_outside_box"] += _mostly_outside(joints_J3, box)
    counts["people_tiny"] += bool(box[2:].max() < TINY)
    found.people.append(
        {
            "annotation_id": annotation["id"],
            "keypoints": joints_J3.ravel().tolist(),
            "box": box.tolist(),
            "area": area,
        }
    )
    return []


def _mostly_outside(joints_J3: np.ndarray, box: np.ndarray) -> bool:
    """Whether more than half of the labelled joints are far from their box."""
    low, size = box[:2], box[2:]
    margin = FAR * size.max()
    places = joints_J3[joints_J3[:, 2] > 0, :2]
    outside = ((places < low - margin) | (places > low + size + margin)).any(axis=1)
    return bool(outside.mean() > 0.5)
