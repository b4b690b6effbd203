"""People as rows of a COCO result file, and their figures as a table."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hgg.poses import Poses
from pipeline.files import atomic_path
from pipeline.metrics import Detection

FIGURES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AP_easy", "AP_medium", "AP_hard", "AR")
"""Those that tables show: COCO's know sizes, CrowdPose's degrees of crowding."""
TITLES = {"ae": "AE", "hgg": "HGG", "oracle": "oracle"}
PERSON = 1  # COCO's category
MOST_PEOPLE = 20  # of an image that COCO's evaluation looks at, the highest scores first


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


def table(ap: Mapping[str, Mapping[str, float]]) -> str:
    """AP and AR of each grouping under each other; a dash where no person counts."""
    shown = [name for name in FIGURES if all(name in figures for figures in ap.values())]
    width = max(8, 1 + max(map(len, shown)))
    lines = [" " * 8 + "".join(f"{name:>{width}}" for name in shown)]
    for grouping, figures in ap.items():
        values = (
            f"{figures[name]:{width}.3f}" if figures[name] >= 0 else f"{'-':>{width}}" for name in shown
        )
        lines.append(f"{TITLES[grouping]:8}" + "".join(values))
    return "\n".join(lines)
