"""People as rows of a COCO result file, and their figures as a ap_table."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hgg.coco import PERSON
from hgg.poses import Poses
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
