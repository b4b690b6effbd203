"""COCO's average precision and recall under names, by pycocotools.

pycocotools is the reference implementation of COCO's rules (its slow loops run on arrays, see
`pipeline.metrics.coco_evaluator`): this module selects images, keeps pycocotools' printing off stdout
(jobs own their last line there) and gives its figures names.
"""

import contextlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO

from pipeline.metrics.coco_evaluator import Evaluator
from pipeline.metrics.detections import Detection

METRICS: dict[str, tuple[str, ...]] = {
    "keypoints": ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L"),
    "bbox": ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR1", "AR10", "AR100", "AR_S", "AR_M", "AR_L"),
}
"""Names of pycocotools' `stats`, in its order."""


def load_annotations(path: Path | str) -> COCO:
    """Ground truth of a COCO annotation file, for `coco_metrics`.

    Reading it once serves several sets of detections: the file of COCO's validation split takes a second.

    Raises:
        ValueError: no such file, or not one of COCO's.
    """
    try:
        with (Path(path) if isinstance(path, str) else path).open(encoding="utf-8-sig") as file:
            document = json.load(file)
        assert isinstance(document, dict), type(document).__name__
        truth = indexed(document)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: a COCO annotation file is needed here") from error
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a COCO annotation file: {error!r}") from error
    missing = {"images", "annotations", "categories"} - truth.dataset.keys()
    if missing:
        raise ValueError(f"{path}: not a COCO annotation file: no {', '.join(sorted(missing))} in it")
    return truth


def indexed(document: dict[str, Any]) -> COCO:
    """An annotation file's content as pycocotools' object, which keeps and changes it."""
    truth = COCO()
    truth.dataset = document  # pyrefly: ignore[bad-assignment]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def coco_metrics(
    annotations: COCO | Path | str,
    detections: Iterable[Detection],
    image_ids: Sequence[int] | None = None,
    iou_type: Literal["keypoints", "bbox"] = "keypoints",
    sigmas: Sequence[float] | None = None,
) -> dict[str, float]:
    """AP and AR of detections, by name (`METRICS`); COCO's official rules, at most 20 people an image.

    Args:
        annotations: Ground truth, or its file.
        detections: Rows of a COCO result file; none at all gives zeros.
        image_ids: Images that count; detections elsewhere are ignored. By default all of the file.
        iou_type: Keypoints by OKS, or boxes by IoU.
        sigmas: OKS's constant of each keypoint; COCO's 17 by default.

    Returns:
        One figure a name in [0, 1]; -1 where the images hold no person of that size (pycocotools' own sign).

    Raises:
        ValueError: an image, asked for or of a detection, that the ground truth does not hold.
    """
    truth = annotations if isinstance(annotations, COCO) else load_annotations(annotations)
    chosen = set(truth.getImgIds() if image_ids is None else image_ids)
    # pycocotools adds fields to the rows it is given, so it gets copies.
    rows: Any = [dict(row) for row in detections]
    check_known(truth, chosen | {row["image_id"] for row in rows})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = Evaluator(truth, result_rows(truth, rows), iou_type)
        evaluator.params.imgIds = sorted(chosen)
        if sigmas is not None:
            evaluator.params.kpt_oks_sigmas = np.array(sigmas)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return dict(zip(METRICS[iou_type], np.asarray(evaluator.stats, dtype=float).tolist(), strict=True))


def check_known(truth: COCO, image_ids: Iterable[int]) -> None:
    """Raise `ValueError` for an image that the ground truth does not hold."""
    for unknown in set(image_ids) - truth.imgs.keys():
        raise ValueError(f"image {unknown} is not in the annotations, which hold {len(truth.imgs)} images")


def result_rows(truth: COCO, rows: Any) -> COCO:
    """Detections as pycocotools' object; its own reader fails on an empty list."""
    if rows:
        return truth.loadRes(rows)
    empty = COCO()
    empty.dataset = {
        "images": truth.dataset["images"],
        "categories": truth.dataset["categories"],
        "annotations": [],
    }
    empty.createIndex()
    return empty
