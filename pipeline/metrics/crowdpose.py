"""CrowdPose's average precision: 14 joint types, areas from boxes, and a figure for each degree of crowding.

CrowdPose counts as COCO does, with constants of its own, so pycocotools does the work here too.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from hgg.skeleton import BOX_SHARE, CROWDPOSE
from pipeline.metrics.coco import check_known, load_annotations, result_rows
from pipeline.metrics.coco_evaluator import Evaluator
from pipeline.metrics.detections import Detection

# An image's crowdIndex says how much its people overlap, from 0 to 1 (CrowdPose, section 3).
CROWDING: dict[str, tuple[float, float]] = {
    "AP_easy": (0.0, 0.1),
    "AP_medium": (0.1, 0.8),
    "AP_hard": (0.8, float("inf")),
}
"""Images of each degree: from the first crowdIndex to below the second."""


def crowdpose_metrics(
    annotations: COCO | Path | str,
    detections: Iterable[Detection],
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """AP and AR of detections by CrowdPose's rules, at most 20 people an image.

    Args:
        annotations: ground truth, or its file: COCO's layout with 14 keypoints, a `crowdIndex` in each image.
        detections: rows of a COCO result file with 14 keypoints each; none at all gives zeros.
        image_ids: images that count; detections elsewhere are ignored. By default all of the file.

    Returns:
        AP, AP50, AP75, AR, AR50, AR75, AP_easy, AP_medium, AP_hard, each in [0, 1]; -1 where there is
        no person.

    Raises:
        ValueError: not CrowdPose's annotations, or detections of other joints or images.
    """
    truth = annotations if isinstance(annotations, COCO) else load_annotations(annotations)
    rows = [dict(row) for row in detections]
    _check(truth, rows)
    truth = with_areas(truth)
    chosen = truth.getImgIds() if image_ids is None else image_ids
    check_known(truth, chosen)
    with contextlib.redirect_stdout(io.StringIO()):
        found = result_rows(truth, rows)
    whole = _accumulated(truth, found, chosen)
    figures = {
        name: _mean(whole[kind], threshold)
        for kind, prefix in (("precision", "AP"), ("recall", "AR"))
        for name, threshold in ((prefix, None), (f"{prefix}50", 0.5), (f"{prefix}75", 0.75))
    }
    for name in CROWDING:
        images = crowded(truth, name, chosen)
        figures[name] = _mean(_accumulated(truth, found, images)["precision"]) if images else -1.0
    return figures


def crowded(truth: COCO, name: str, image_ids: Iterable[int]) -> list[int]:
    """Those of the images that a figure of `CROWDING` is about."""
    low, high = CROWDING[name]
    images: Mapping[int, Any] = truth.imgs
    return [number for number in image_ids if low <= images[number]["crowdIndex"] < high]


def _check(truth: COCO, rows: list[Detection]) -> None:
    joints = CROWDPOSE.count
    for image in truth.imgs.values():
        if "crowdIndex" not in image:
            raise ValueError(f"image {image['id']} has no crowdIndex: not CrowdPose's annotations")
    both: list[tuple[str, list[Any]]] = [("annotation", list(truth.anns.values())), ("detection", rows)]
    for what, people in both:
        for person in people:
            found = len(person.get("keypoints", ())) // 3
            if found != joints:
                raise ValueError(
                    f"image {person['image_id']}: {what} with {found} keypoints; CrowdPose has {joints}"
                )
    check_known(truth, [row["image_id"] for row in rows])


def complete(truth: COCO) -> COCO:
    """The ground truth with CrowdPose's areas, and with a crowdIndex in each image that has none.

    What was given stays as it is.
    """
    changed = with_areas(truth)
    images: list[Any] = changed.dataset["images"]
    for image in images:
        if "crowdIndex" not in image:
            image["crowdIndex"] = crowd_index(changed.imgToAnns[image["id"]])
    return changed


def crowd_index(people: Sequence[Mapping[str, Any]]) -> float:
    """How much the people of an image overlap, from 0 to 1 (CrowdPose, section 3).

    The mean over the people of how many joints of others lie in their box, for each joint of their own.
    """
    ratios = []
    for person in people:
        low, size = np.split(np.array(person["bbox"], float), 2)
        inside = []
        for other in people:
            joints_J3 = np.reshape(other["keypoints"], (-1, 3))
            places = joints_J3[joints_J3[:, 2] > 0, :2]
            inside.append(int(((places >= low) & (places <= low + size)).all(axis=1).sum()))
        own = sum(count for other, count in zip(people, inside, strict=True) if other is person)
        if own:
            ratios.append((sum(inside) - own) / own)
    return min(1.0, float(np.mean(ratios))) if ratios else 0.0


def with_areas(truth: COCO) -> COCO:
    """The ground truth with CrowdPose's areas; what was given stays as it is."""
    changed = COCO()
    changed.dataset = deepcopy(truth.dataset)
    for person in changed.dataset["annotations"]:
        person["area"] = person["bbox"][2] * person["bbox"][3] * BOX_SHARE
    with contextlib.redirect_stdout(io.StringIO()):
        changed.createIndex()
    return changed


def _accumulated(truth: COCO, found: COCO, images: Iterable[int]) -> Mapping[str, Any]:
    """Precision and recall of pycocotools by OKS threshold (first axis), over people of all sizes."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = Evaluator(truth, found, "keypoints")
        evaluator.params.kpt_oks_sigmas = np.array(CROWDPOSE.sigmas)
        evaluator.params.imgIds = sorted(images)
        evaluator.params.areaRng = evaluator.params.areaRng[:1]
        evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval


def _mean(values: np.ndarray, threshold: float | None = None) -> float:
    """Mean over OKS thresholds 0.50 to 0.95 in steps of 0.05, or the figure at one of them."""
    if threshold is not None:
        values = values[round((threshold - 0.5) / 0.05)]
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0
