"""Where the points are lost: AP of each grouping on images of one kind, and what lies between the groupings.

One minus the oracle's AP is what the detector loses; the oracle's minus a grouping's is what that grouping
loses, as the oracle groups the same candidates by the ground truth.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO

from hgg.groupings import GROUPINGS, TITLES
from pipeline.evaluation.evaluate import Evaluation
from pipeline.metrics.ap import rules_of, score
from pipeline.metrics.crowdpose import CROWDING, crowded
from pipeline.metrics.detections import Detection
from pipeline.metrics.fates import Fates

COLUMNS = ("images", "people", *TITLES.values(), "1 - oracle", "oracle - HGG", "oracle - AE")
"""Columns of the table, after the name of the part."""

SIZES = (
    ("medium people", "AP_M", 32.0**2, 96.0**2),
    ("large people", "AP_L", 96.0**2, float("inf")),
)
"""COCO's sizes, with the figure of each and its areas in pixels (its evaluation page)."""


class Part(NamedTuple):
    """Some images, or the people of one size in all of them, with AP by grouping."""

    name: str
    """What they have in common."""
    images: int
    """Images that count."""
    people: int
    """People with labelled keypoints in them: those that AP is about."""
    ap: dict[str, float]
    """AP by grouping (`ae`, `hgg`, `oracle`); -1 where there are no people."""


class _Image(NamedTuple):
    """What an image is sorted by."""

    areas: list[float]
    overlap: float


KINDS: tuple[tuple[str, Callable[[_Image], bool]], ...] = (
    ("1 person", lambda image: len(image.areas) == 1),
    ("2 or 3 people", lambda image: 2 <= len(image.areas) <= 3),
    ("4 or more people", lambda image: len(image.areas) >= 4),
    ("several people, boxes overlap below 0.1", lambda image: len(image.areas) > 1 and image.overlap < 0.1),
    ("boxes overlap by 0.1 to 0.3", lambda image: 0.1 <= image.overlap <= 0.3),
    ("boxes overlap above 0.3", lambda image: image.overlap > 0.3),
)
"""Kinds of image. Overlap is the largest IoU of two people's boxes."""


def diagnose(found: Evaluation) -> list[Part]:
    """AP of each grouping on all images of an evaluation, on each of `KINDS`, and by `SIZES` or crowding.

    A detection too many counts in the part that its image belongs to.
    """
    images = {image: _describe(found.truth, image) for image in found.image_ids}
    parts = [_part("all", [len(image.areas) for image in images.values()], _of_all(found, "AP"))]
    for name, numbers in _by_kind(images):
        chosen = {number: images[number] for number in numbers}
        ap = {grouping: _ap(found, rows, [*chosen]) for grouping, rows in found.detections.items()}
        parts.append(_part(name, [len(image.areas) for image in chosen.values()], ap))
    divided = _by_crowding if rules_of(found.skeleton).by_crowding else _by_size
    return parts + divided(found, images)


def _by_size(found: Evaluation, images: Mapping[int, _Image]) -> list[Part]:
    """The people of each of `SIZES`, in the images that have any."""
    parts = []
    for name, metric, low, high in SIZES:
        of_size = [sum(low <= area < high for area in image.areas) for image in images.values()]
        parts.append(_part(name, [people for people in of_size if people], _of_all(found, metric)))
    return parts


def _by_crowding(found: Evaluation, images: Mapping[int, _Image]) -> list[Part]:
    """CrowdPose's degrees of crowding in the sizes' place: its AP knows no sizes."""
    return [
        _part(
            f"crowding {metric.removeprefix('AP_')}",
            [len(images[number].areas) for number in crowded(found.truth, metric, images)],
            _of_all(found, metric),
        )
        for metric in CROWDING
    ]


def sum_fates(found: Evaluation) -> dict[str, dict[str, Fates]]:
    """What became of the labelled keypoints, by grouping: of all images and of each of `KINDS`."""
    images = {image: _describe(found.truth, image) for image in found.image_ids}
    kinds = [("all", [*images]), *_by_kind(images)]
    return {
        grouping: {name: sum((fates[number] for number in numbers), Fates()) for name, numbers in kinds}
        for grouping, fates in found.fates.items()
    }


def diagnosis_rows(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The table's rows as plain values, by `part` and `COLUMNS`; None where there are no people."""
    return [dict(zip(("part", *COLUMNS), (part.name, *_figures(part)), strict=True)) for part in parts]


def diagnosis_table(parts: Sequence[Part]) -> str:
    """The table in Markdown."""
    lines = [f"| | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}"]
    for part in parts:
        images, people, *figures = _figures(part)
        cells = [str(images), str(people), *("" if f is None else f"{f:.3f}" for f in figures)]
        lines.append(f"| {part.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_kind(images: Mapping[int, _Image]) -> list[tuple[str, list[int]]]:
    """Ids of the images of each kind."""
    return [(name, [number for number, image in images.items() if belongs(image)]) for name, belongs in KINDS]


def _figures(part: Part) -> list[Any]:
    if not part.people:
        return [part.images, part.people, *[None] * (len(COLUMNS) - 2)]
    ae, hgg, oracle = (part.ap[grouping] for grouping in GROUPINGS)
    return [part.images, part.people, ae, hgg, oracle, 1 - oracle, oracle - hgg, oracle - ae]


def _part(name: str, people: list[int], ap: dict[str, float]) -> Part:
    """A part of images with so many people each."""
    return Part(name, len(people), sum(people), ap)


def _of_all(found: Evaluation, metric: str) -> dict[str, float]:
    return {grouping: figures[metric] for grouping, figures in found.ap.items()}


def _ap(found: Evaluation, rows: Sequence[Detection], images: Sequence[int]) -> float:
    return score(found.truth, rows, found.skeleton, images)["AP"] if images else -1.0


def _describe(truth: COCO, image: int) -> _Image:
    """Areas of an image's labelled people and the largest IoU of two of their boxes."""
    found: list[Any] = truth.loadAnns(truth.getAnnIds(imgIds=[image]))
    people = [person for person in found if person["num_keypoints"] and not person.get("iscrowd")]
    boxes = [person["bbox"] for person in people]
    overlap = 0.0
    if len(boxes) > 1:
        iou = np.asarray(mask.iou(boxes, boxes, [0] * len(boxes)))
        overlap = float(iou[~np.eye(len(boxes), dtype=bool)].max())
    return _Image([float(person["area"]) for person in people], overlap)
