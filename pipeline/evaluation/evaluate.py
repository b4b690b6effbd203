"""A model over the images of a split: people in original pixels and their AP.

One forward pass serves three groupings: associative embedding (AE), HGG and the oracle. Needs neither Ray
nor MLflow. What is kept of an image is its detections, so memory does not grow with pictures or maps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pycocotools.coco import COCO

from hgg.config import InferenceConfig
from hgg.groupings import GROUPINGS, GroupingName
from hgg.model import HGG
from hgg.predictor import Predictor
from hgg.skeleton import COCO as COCO_JOINTS
from hgg.skeleton import Skeleton
from pipeline.base.progress import Progress
from pipeline.data.shards import records_manifest
from pipeline.data.truth import read_truth
from pipeline.evaluation.found import Found, Portion, portions
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.people import find_people
from pipeline.metrics.ap import score, to_truth
from pipeline.metrics.detections import Detection
from pipeline.metrics.fates import Fates


class Evaluation(NamedTuple):
    """What an evaluation found, by grouping."""

    ap: dict[str, dict[str, float]]
    """COCO's figures by name (`pipeline.metrics.coco.METRICS`)."""
    detections: dict[str, list[Detection]]
    """Rows of a COCO result file; `pipeline.metrics.detections.write_detections` writes them."""
    counts: dict[str, float]
    """images, images_missing (left out by preprocessing), people, candidates, seconds, images_per_second."""
    image_ids: list[int]
    """Images that were looked at, in the records' order."""
    truth: COCO
    """Ground truth that AP was computed from."""
    fates: dict[str, dict[int, Fates]]
    """What became of each image's labelled keypoints, by image id; empty without the oracle."""
    skeleton: Skeleton = COCO_JOINTS
    """Whose rules AP was computed by."""
    crowding: Mapping[int, float] = MappingProxyType({})
    """How much the labelled people overlap, by image id."""


class Scope(NamedTuple):
    """What an evaluation goes through, and the truth that it is scored by."""

    records: Path
    skeleton: Skeleton
    """Whose rules AP is computed by."""
    truth: COCO
    portions: list[Portion]
    """Of the records, in order."""
    expected: int | None
    """Images that the annotation file promised; None where only some shards are looked at."""


def evaluate_model(
    model: HGG,
    records: Path,
    *,
    batch_size: int,
    groupings: Sequence[GroupingName] = GROUPINGS,
    limit: int = 0,
    shards: range | None = None,
    gallery: Gallery | None = None,
    inference: InferenceConfig | None = None,
) -> Evaluation:
    """Detect once and group in several ways the people of every image, also of those without people.

    Args:
        model: on the device that it is to run on; its mode is left as it was.
        records: folder of the split's records. AP is computed from their people, by the rules of the model's
            skeleton.
        batch_size: images per forward pass.
        groupings: `ae`, `hgg`, `oracle` (candidates grouped by ground truth).
        limit: only so many images, the first of the records; 0 is all. AP is then over these alone.
        shards: only these of the records; AP is then over their images alone.
        gallery: is offered every image with its people, for pictures.
        inference: how the images are shown; by default in one plain view.

    Raises:
        UserError: no finished records in the folder, or no truth beside them.
    """
    scope = scope_of(records, model.config.joints, limit, shards)
    predictor = Predictor(model, inference=inference)
    progress = Progress("evaluate", sum(portion.images for portion in scope.portions))
    found = Found()
    for portion in scope.portions:
        part = find_people(predictor, records, portion, batch_size, groupings, gallery, progress)
        found.add(part)
    return sum_up(found, scope, progress)


def scope_of(records: Path, skeleton: Skeleton, limit: int = 0, shards: range | None = None) -> Scope:
    """What an evaluation goes through, before anything is looked at.

    Args:
        records: folder of the split's records.
        skeleton: whose rules AP is computed by.
        limit: only so many images, the first of the records; 0 is all.
        shards: only these of the records; None is all.

    Raises `UserError` where there are no finished records, or no truth beside them.
    """
    chosen = portions(records, limit, shards)
    truth = to_truth(read_truth(records, [portion.shard for portion in chosen]), skeleton)
    expected = None
    if shards is None:
        manifest = records_manifest(records)
        left_out = sum(manifest.rejected.values()) - manifest.rejected.get("unknown_image", 0)
        known = manifest.counts["rows"] + left_out
        expected = min(limit or known, known)
    return Scope(records, skeleton, truth, chosen, expected)


def ap_of(found: Found, scope: Scope) -> dict[str, dict[str, float]]:
    """COCO's figures by grouping, of everything that was found."""
    return {
        grouping: score(scope.truth, rows, scope.skeleton, found.image_ids)
        for grouping, rows in found.rows.items()
    }


def sum_up(found: Found, scope: Scope, progress: Progress) -> Evaluation:
    """AP of everything that was found.

    Args:
        found: of all images.
        scope: of the evaluation.
        progress: of the images that were looked at since the start.
    """
    seconds, images = progress.seconds, found.image_ids
    counts = {
        "images": len(images),
        "images_missing": 0 if scope.expected is None else scope.expected - len(images),
        "people": found.people,
        "candidates": found.candidates,
        "seconds": round(seconds, 3),
        "images_per_second": round(progress.done / seconds, 3),
    }
    return Evaluation(
        ap=ap_of(found, scope),
        detections=found.rows,
        counts=counts,
        image_ids=images,
        truth=scope.truth,
        fates=found.fates,
        skeleton=scope.skeleton,
        crowding=found.crowding,
    )
