"""The pictures of a report: ground truth, AE and HGG side by side, and a page that explains the grouping."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from hgg.draw import colours_like, draw_poses
from hgg.explain_page import explained, why_not
from hgg.groupings import BLIND, TITLES
from hgg.pictures import LONGEST_JPEG_SIDE, decode_picture, encode_jpeg
from hgg.poses import Poses
from hgg.predictor import Detections, Predictor
from hgg.skeleton import Skeleton
from hgg.suppression import without
from hgg.targets import Targets
from pipeline.base.files import write_text
from pipeline.evaluation.by_parts import chosen_records
from pipeline.evaluation.people import people_of
from pipeline.evaluation.truth import true_people, true_poses
from pipeline.metrics.detections import Detection

SIDE = 480  # pixels of a panel's longer side
QUALITY = 80
EXPLAINED = "explain"
"""Folder beside a report of the pages that explain its pictures."""


class Panel(NamedTuple):
    """A picture with people on it."""

    title: str
    jpeg: bytes


class Shown(NamedTuple):
    """An image as a report shows it."""

    file_name: str
    panels: list[Panel]
    explained: str
    """The page that explains its grouping, from the report's folder on; empty where there is none."""


def look_again(
    predictor: Predictor, records: Path, image_ids: Iterable[int], folder: Path
) -> dict[int, Shown]:
    """Some images with their people, each looked at once more; {folder}/explain/{image_id}.html of each.

    Args:
        predictor: that they were evaluated by.
        records: of the split.
        image_ids: which images.
        folder: of the report. No page is written where the settings have no rounds to show (`why_not`).
    """
    shown, joints = {}, predictor.model.config.joints
    for record in chosen_records(records, set(image_ids)):
        image = decode_picture(record["jpeg"])
        explainable = not why_not(predictor) and max(image.shape[:2]) <= LONGEST_JPEG_SIDE
        page = f"{EXPLAINED}/{record['image_id']}.html" if explainable else ""
        if page:
            truth = partial(_targets, record=record, joints=joints)
            found = explained(predictor, image, truth)
            write_text(folder / page, found.html(record["file_name"]))
            people = {name: without(poses, found.by[name]) for name, poses in found.people.items()}
        else:
            _, of_batch, _ = people_of(predictor, [record], [image], BLIND)
            people = {TITLES[grouping]: poses[0] for grouping, poses in of_batch.items()}
        chosen = {TITLES[grouping]: people[TITLES[grouping]] for grouping in BLIND}
        panels = _panels(image, true_poses(record, joints), chosen, joints)
        shown[record["image_id"]] = Shown(record["file_name"], panels, page)
    return shown


def drawn(
    records: Path, skeleton: Skeleton, people: Mapping[str, Sequence[Detection]], image_ids: Iterable[int]
) -> dict[int, Shown]:
    """Some images with the people of result files, whose joints are all drawn: such files have no values.

    Args:
        records: of the split.
        skeleton: of the people.
        people: by title, rows of a COCO result file.
        image_ids: which images.
    """
    chosen, shown = set(image_ids), {}
    by_image: dict[str, dict[int, list[Detection]]] = {title: {} for title in people}
    for title, rows in people.items():
        for row in rows:
            if row["image_id"] in chosen:
                by_image[title].setdefault(row["image_id"], []).append(row)
    for record in chosen_records(records, chosen):
        number = record["image_id"]
        poses = {title: _poses(rows.get(number, []), skeleton) for title, rows in by_image.items()}
        panels = _panels(decode_picture(record["jpeg"]), true_poses(record, skeleton), poses, skeleton)
        shown[number] = Shown(record["file_name"], panels, "")
    return shown


def _panels(image: np.ndarray, truth: Poses, people: Mapping[str, Poses], skeleton: Skeleton) -> list[Panel]:
    """Ground truth and each grouping; a person has the colour of the true person it is nearest to."""
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(scale * side)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    look: Any = {"long_side": SIDE, "skeleton": skeleton}
    panels = [("ground truth", draw_poses(small, _scaled(truth, scale), scores=False, min_joints=1, **look))]
    for title, poses in people.items():
        colours = colours_like(poses, truth)
        panels.append((title, draw_poses(small, _scaled(poses, scale), colours=colours, **look)))
    return [Panel(title, encode_jpeg(picture, QUALITY)) for title, picture in panels]


def _scaled(poses: Poses, scale: float) -> Poses:
    """People in the pixels of a picture that was made smaller."""
    keypoints = poses.keypoints.copy()
    keypoints[..., :2] = (keypoints[..., :2] + 0.5) * scale - 0.5
    return poses._replace(keypoints=keypoints)


def _poses(rows: Sequence[Detection], skeleton: Skeleton) -> Poses:
    keypoints = [np.reshape(row["keypoints"], (skeleton.count, 3)) for row in rows]
    scores = [row["score"] for row in rows]
    return Poses(np.array(keypoints, np.float32).reshape(-1, skeleton.count, 3), np.array(scores, np.float32))


def _targets(found: Detections, record: dict[str, Any], joints: Skeleton) -> Targets:
    """The true people beside what was found, for the oracle's grouping, on the device of the candidates."""
    targets = true_people([record], found.transforms, found.candidates.size.tolist(), joints)
    return Targets(*(part.to(found.candidates.xy.device) for part in targets))
