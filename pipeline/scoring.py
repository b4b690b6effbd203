"""AP by the rules of the data set that a skeleton belongs to: COCO's (OCHuman's too), or CrowdPose's."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pycocotools.coco import COCO

from hgg.skeleton import SkeletonName
from pipeline.errors import UserError
from pipeline.metrics import Detection, coco_metrics, load_annotations
from pipeline.metrics_crowdpose import crowdpose_metrics, with_areas


def load_truth(path: Path, skeleton: SkeletonName) -> COCO:
    """Ground truth of an annotation file; every person has an area, CrowdPose's from their boxes.

    Raises:
        UserError: no such file, or not a keypoint annotation file.
    """
    try:
        truth = load_annotations(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    return with_areas(truth) if skeleton == "crowdpose" else truth


def score(
    truth: COCO,
    detections: Iterable[Detection],
    skeleton: SkeletonName,
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """AP and AR by name, at most 20 people an image: `coco_metrics` or `crowdpose_metrics`, which see.

    Args:
        truth: of `load_truth`.
        detections: rows of a COCO result file.
        skeleton: whose rules count.
        image_ids: images that count; by default all of the truth.
    """
    rules = crowdpose_metrics if skeleton == "crowdpose" else coco_metrics
    return rules(truth, detections, image_ids)
