"""People as rows of a COCO result file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hgg.coco import PERSON
from hgg.poses import Poses
from pipeline.base.errors import first_line
from pipeline.base.files import atomic_path

MOST_PEOPLE = 20  # of an image that COCO's evaluation looks at, the highest scores first

Detection = dict[str, Any]
"""One row of a COCO result file: image_id, category_id, score and keypoints or bbox."""


def coco_rows(image_id: int, poses: Poses) -> list[Detection]:
    """Rows of a COCO result file, at most COCO's 20 an image; positions to a hundredth of a pixel.

    A joint that is missing even after filling stands at the mean of the person's others, as in AE. OKS looks
    at labelled joints alone, so a place near the person can only help; and pycocotools takes the extent of
    all 17 places as the person's size, which a missing joint at (0, 0) would falsify.
    """
    rows = []
    for joints_J3, score in zip(poses.keypoints[:MOST_PEOPLE].astype(np.float64), poses.score, strict=False):
        found = joints_J3[:, 2] > 0
        places = np.ones_like(joints_J3)
        places[:, :2] = np.where(found[:, None], joints_J3[:, :2], joints_J3[found, :2].mean(axis=0))
        row = {"image_id": image_id, "category_id": PERSON, "keypoints": places.round(2).ravel()}
        rows.append(row | {"score": round(float(score), 6)})
    return rows


def write_detections(path: Path, rows: Iterable[Detection]) -> None:
    """Write a COCO result file, whole or not at all, one person a line."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "[\n"
        for row in rows:
            file.write(separator + json.dumps(row | {"keypoints": row["keypoints"].tolist()}))
            separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")


def read_detections(path: Path) -> list[Detection]:
    """The rows of a COCO result file, as `coco_rows` gives them.

    Raises `ValueError` where it is none, and `OSError` where there is no such file.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise ValueError(f"a list of people is needed, this is a {type(rows).__name__}")
        return [row | {"keypoints": np.array(row["keypoints"], np.float64)} for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a COCO result file: {first_line(error)}") from error
