"""AP by the rules of the data set that a skeleton is from: CrowdPose's, or COCO's with its constants."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pycocotools.coco import COCO

from hgg.groupings import TITLES
from hgg.skeleton import COCO as COCO_JOINTS
from hgg.skeleton import CROWDPOSE, Skeleton
from pipeline.metrics.coco import coco_metrics, indexed
from pipeline.metrics.crowdpose import complete, crowdpose_metrics
from pipeline.metrics.detections import Detection

FIGURES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AP_easy", "AP_medium", "AP_hard", "AR")
"""Those that tables show: COCO's know sizes, CrowdPose's degrees of crowding."""


class Rules(NamedTuple):
    """How a data set counts."""

    figures: Callable[[COCO, Iterable[Detection], Sequence[int] | None], dict[str, float]]
    """AP and AR by name; `coco_metrics` or `crowdpose_metrics`, which see."""
    complete: Callable[[COCO], COCO] | None = None
    """Gives the truth what its rules read and its files may lack."""
    by_crowding: bool = False
    """It has figures for the degrees of crowding, in the place of those for sizes."""


def rules_of(skeleton: Skeleton) -> Rules:
    """The rules by which models of a skeleton are scored."""
    if skeleton == CROWDPOSE:
        return Rules(crowdpose_metrics, complete, by_crowding=True)
    if skeleton == COCO_JOINTS:
        return Rules(coco_metrics)
    return Rules(partial(coco_metrics, sigmas=skeleton.sigmas))


def to_truth(document: dict[str, Any], skeleton: Skeleton) -> COCO:
    """Ground truth by the rules of a skeleton.

    Args:
        document: an annotation file's content, complete (`pipeline.data.truth.read_truth`).
        skeleton: whose rules count. CrowdPose's give each person an area from the box, and each image that
            has none its crowdIndex.
    """
    truth, complete = indexed(document), rules_of(skeleton).complete
    return truth if complete is None else complete(truth)


def score(
    truth: COCO,
    detections: Iterable[Detection],
    skeleton: Skeleton,
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """AP and AR by name, at most 20 people an image.

    Args:
        truth: of `to_truth`.
        detections: rows of a COCO result file.
        skeleton: whose rules count.
        image_ids: images that count; by default all of the truth.
    """
    return rules_of(skeleton).figures(truth, detections, image_ids)


def ap_table(ap: Mapping[str, Mapping[str, float]]) -> str:
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
