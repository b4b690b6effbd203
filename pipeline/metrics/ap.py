"""AP by the rules of the data set that a skeleton belongs to: COCO's (OCHuman's too), or CrowdPose's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pycocotools.coco import COCO

from hgg.groupings import TITLES
from hgg.skeleton import SkeletonName
from pipeline.base.errors import UserError
from pipeline.metrics.coco import coco_metrics, load_annotations
from pipeline.metrics.crowdpose import crowdpose_metrics, with_areas
from pipeline.metrics.detections import Detection

FIGURES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AP_easy", "AP_medium", "AP_hard", "AR")
"""Those that tables show: COCO's know sizes, CrowdPose's degrees of crowding."""


class Rules(NamedTuple):
    """How a data set counts."""

    figures: Callable[[COCO, Iterable[Detection], Sequence[int] | None], dict[str, float]]
    """AP and AR by name; `coco_metrics` or `crowdpose_metrics`, which see."""
    areas_from_boxes: bool = False
    """Its files hold no areas."""
    by_crowding: bool = False
    """It has figures for the degrees of crowding, in the place of those for sizes."""


RULES: dict[SkeletonName, Rules] = {
    "coco": Rules(coco_metrics),
    "crowdpose": Rules(crowdpose_metrics, areas_from_boxes=True, by_crowding=True),
}
"""By a model's skeleton."""


def load_truth(path: Path, skeleton: SkeletonName) -> COCO:
    """Ground truth of an annotation file; every person has an area, CrowdPose's from their boxes.

    Raises:
        UserError: no such file, or not a keypoint annotation file.
    """
    try:
        truth = load_annotations(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    return with_areas(truth) if RULES[skeleton].areas_from_boxes else truth


def score(
    truth: COCO,
    detections: Iterable[Detection],
    skeleton: SkeletonName,
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """AP and AR by name, at most 20 people an image.

    Args:
        truth: of `load_truth`.
        detections: rows of a COCO result file.
        skeleton: whose rules count.
        image_ids: images that count; by default all of the truth.
    """
    return RULES[skeleton].figures(truth, detections, image_ids)


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
