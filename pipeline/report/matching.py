"""Who is whom at an OKS of 0.5: the pairs that COCO's AP counts as right at its lowest threshold.

By pycocotools' own matching: people that were found come in turn, the highest score first and 20 an image at
the most, and each takes the free true person with whom its OKS is highest, if that is 0.5 at least.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO

from hgg.skeleton import Skeleton
from pipeline.metrics.coco import result_rows
from pipeline.metrics.coco_evaluator import Evaluator
from pipeline.metrics.detections import Detection

LEAST_OKS = 0.5
NOBODY = -1


class Someone(NamedTuple):
    """A person that was found."""

    score: float
    person: int
    """Which of the image's true people it was taken for, or `NOBODY`."""
    oks: float
    """With that person; 0 where there is none."""
    keypoints: np.ndarray
    """(J, 2) in original pixels."""


class Matched(NamedTuple):
    """The people of an image."""

    people: Sequence[Mapping[str, Any]]
    """True people that count: annotations with labelled joints that are no crowds."""
    found: Sequence[Someone]
    """Without those that were taken for somebody who does not count, which are neither right nor wrong."""


def match(
    truth: COCO, rows: Iterable[Detection], skeleton: Skeleton, image_ids: Sequence[int]
) -> dict[int, Matched]:
    """The people of each image.

    Args:
        truth: of `pipeline.metrics.ap.to_truth`, with the areas of the skeleton's rules.
        rows: of a COCO result file; those of other images are passed over.
        skeleton: whose constants OKS has.
        image_ids: images that count.
    """
    chosen = set(image_ids)
    kept = [dict(row) for row in rows if row["image_id"] in chosen]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = Evaluator(truth, result_rows(truth, kept), "keypoints")
        parameters = evaluator.params
        parameters.imgIds = sorted(chosen)
        parameters.iouThrs = np.array([LEAST_OKS])
        parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
        parameters.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluator.evaluate()
    images: list[Any] = evaluator.evalImgs
    matched = dict.fromkeys(image_ids, Matched([], []))  # an image of nobody and nothing has no entry
    return matched | {entry["image_id"]: _matched(evaluator, entry) for entry in images if entry is not None}


def _matched(evaluator: Evaluator, entry: Mapping[str, Any]) -> Matched:
    """An image, from what pycocotools says of it."""
    key = entry["image_id"], entry["category_id"]
    everybody = evaluator._gts[key]
    counts = {
        number for number, ignored in zip(entry["gtIds"], entry["gtIgnore"], strict=True) if not ignored
    }
    people = [person for person in everybody if person["id"] in counts]
    place = {person["id"]: number for number, person in enumerate(people)}
    column = {person["id"]: number for number, person in enumerate(everybody)}
    by_id = {each["id"]: each for each in evaluator._dts[key]}
    overlap: Any = evaluator.ious[key]
    found = []
    for order, number in enumerate(entry["dtIds"]):
        if entry["dtIgnore"][0, order]:
            continue
        taken = int(entry["dtMatches"][0, order])  # an annotation's number, 0 for none
        oks = float(overlap[order, column[taken]]) if taken else 0.0
        keypoints = np.reshape(np.asarray(by_id[number]["keypoints"], float), (-1, 3))[:, :2]
        found.append(Someone(float(by_id[number]["score"]), place.get(taken, NOBODY), oks, keypoints))
    return Matched(people, found)
