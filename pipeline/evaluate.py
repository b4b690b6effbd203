"""A model over the images of a split: people in original pixels and their AP.

One forward pass serves three groupings: associative embedding (AE), HGG and the oracle. Needs neither Ray
nor MLflow. What is kept of an image is its detections, so memory does not grow with pictures or maps.

Letters: B images, P people, J joint types, S side of the output maps in cells.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pycocotools.coco import COCO
from torch import Tensor

from hgg.associative import group_associative
from hgg.clusters import Clusters
from hgg.config import InferenceConfig
from hgg.labels import assign
from hgg.model import HGG
from hgg.oracle import group_oracle
from hgg.poses import Poses
from hgg.predictor import Detections, Predictor
from hgg.skeleton import COCO as COCO_JOINTS
from hgg.skeleton import Skeleton, SkeletonName
from hgg.targets import Targets
from pipeline.encode import to_labels
from pipeline.errors import UserError
from pipeline.found import Found, Portion
from pipeline.grouping_errors import Fates, count_fates
from pipeline.jpeg import decode_picture
from pipeline.metrics import Detection
from pipeline.pictures import Gallery
from pipeline.progress import Progress
from pipeline.rows import read_rows
from pipeline.scoring import load_truth, score
from pipeline.shard_writer import chunks
from pipeline.shards import records_manifest, shard_file

Grouping = Literal["ae", "hgg", "oracle"]
GROUPINGS: tuple[Grouping, ...] = ("ae", "hgg", "oracle")


class Evaluation(NamedTuple):
    """What an evaluation found, by grouping."""

    ap: dict[str, dict[str, float]]
    """COCO's figures by name (`pipeline.metrics.METRICS`)."""
    detections: dict[str, list[Detection]]
    """Rows of a COCO result file; `pipeline.detections.write_detections` writes them."""
    counts: dict[str, float]
    """images, images_missing (in the annotations, not in the records), people, candidates, seconds,
    images_per_second."""
    image_ids: list[int]
    """Images that were looked at, in the records' order."""
    truth: COCO
    """Ground truth that AP was computed from."""
    fates: dict[str, dict[int, Fates]]
    """What became of each image's labelled keypoints, by image id; empty without the oracle."""
    skeleton: SkeletonName = "coco"
    """Whose rules AP was computed by."""
    crowding: Mapping[int, float] = MappingProxyType({})
    """How much the labelled people overlap, by image id."""


def evaluate_model(
    model: HGG,
    records: Path,
    annotations: Path,
    *,
    batch_size: int,
    groupings: Sequence[Grouping] = GROUPINGS,
    limit: int = 0,
    shards: range | None = None,
    gallery: Gallery | None = None,
    inference: InferenceConfig | None = None,
) -> Evaluation:
    """Detect once and group in several ways the people of every image, also of those without people.

    Args:
        model: on the device that it is to run on; its mode is left as it was.
        records: folder of the split's records.
        annotations: the split's annotation file, from which AP is computed by the rules of the model's
            skeleton.
        batch_size: images per forward pass.
        groupings: `ae`, `hgg`, `oracle` (candidates grouped by ground truth).
        limit: only so many images, the first of the records; 0 is all. AP is then over these alone.
        shards: only these of the records; AP is then over their images alone.
        gallery: is offered every image with its people, for pictures.
        inference: how the images are shown; by default in one plain view.

    Raises:
        UserError: no finished records in the folder, no annotation file, or records of other images.
    """
    truth = load_truth(annotations, model.config.skeleton)
    wanted = portions(records, limit, shards)
    predictor = Predictor(model, inference=inference)
    progress = Progress("evaluate", sum(portion.images for portion in wanted))
    found = Found()
    for portion in wanted:
        part = find_people(predictor, records, portion, batch_size, groupings, gallery, progress)
        found.add(part)
    check_known(found.image_ids, truth, records, annotations)
    missing = min(limit or len(truth.imgs), len(truth.imgs)) - len(found.image_ids) if shards is None else 0
    return sum_up(found, truth, model.config.skeleton, missing, progress)


def portions(records: Path, limit: int = 0, shards: range | None = None) -> list[Portion]:
    """The shards of a folder of records, the last one cut where only so many images are wanted.

    Args:
        records: of a split.
        limit: images in all; 0 is all of them.
        shards: which ones; None is all.

    Raises `UserError` where preprocessing has not finished there.
    """
    rows = [row["rows"] for row in records_manifest(records).shards]
    chosen, left = [], limit or sum(rows)
    for shard in shards if shards is not None else range(len(rows)):
        if min(rows[shard], left) > 0:
            chosen.append(Portion(shard, min(rows[shard], left)))
            left -= chosen[-1].images
    return chosen


@torch.no_grad()
def find_people(
    predictor: Predictor,
    records: Path,
    portion: Portion,
    batch_size: int,
    groupings: Sequence[Grouping] = GROUPINGS,
    gallery: Gallery | None = None,
    progress: Progress | None = None,
) -> Found:
    """The people of the images of a shard; no batch holds images of two, so that shards may be shared out."""
    found = Found()
    rows = islice(read_rows([records / shard_file(portion.shard)]), portion.images)
    for batch in chunks(rows, batch_size):
        images = [decode_picture(record["jpeg"]) for record in batch]
        detections, people, fates = people_of(predictor, batch, images, groupings)
        found.candidates += int(detections.candidates.valid.sum())
        for place, (record, image) in enumerate(zip(batch, images, strict=True)):
            of_image = {grouping: people[grouping][place] for grouping in groupings}
            found.add_image(record, of_image, {grouping: each[place] for grouping, each in fates.items()})
            if gallery is not None:
                gallery.offer(record, image, of_image)
        if progress is not None:
            progress.add(len(batch))
    return found


def sum_up(found: Found, truth: COCO, skeleton: SkeletonName, missing: int, progress: Progress) -> Evaluation:
    """AP of everything that was found.

    Args:
        found: of all images.
        truth: their ground truth.
        skeleton: whose rules AP is computed by.
        missing: images of the annotations that are not in the records.
        progress: of the images that were looked at since the start.
    """
    seconds, images = progress.seconds, found.image_ids
    counts = {
        "images": len(images),
        "images_missing": missing,
        "people": found.people,
        "candidates": found.candidates,
        "seconds": round(seconds, 3),
        "images_per_second": round(progress.done / seconds, 3),
    }
    ap = {grouping: score(truth, rows, skeleton, images) for grouping, rows in found.rows.items()}
    return Evaluation(ap, found.rows, counts, images, truth, found.fates, skeleton, found.crowding)


def check_known(image_ids: Sequence[int], truth: COCO, folder: Path, annotations: Path) -> None:
    """Raise `UserError` where records hold an image that the annotation file does not know."""
    for image_id in image_ids:
        if image_id not in truth.imgs:
            raise UserError(
                f"{folder} holds image {image_id}, which is not in {annotations}: run "
                "jobs/preprocess.py with this configuration"
            )


def people_of(
    predictor: Predictor,
    records: list[dict[str, Any]],
    images: list[np.ndarray],
    groupings: Sequence[Grouping],
) -> tuple[Detections, dict[Grouping, list[Poses]], dict[Grouping, list[Fates]]]:
    """What the network finds, each grouping's people in original pixels, and the fates of the keypoints.

    The truth is looked at for the oracle alone; without it there are no fates.
    """
    detections = predictor.detect(images)
    candidates, config = detections.candidates, predictor.model.config
    clusters: dict[Grouping, Clusters] = {}
    fates: dict[Grouping, list[Fates]] = {}
    if "ae" in groupings:
        clusters["ae"] = group_associative(candidates, config.grouping.tag_threshold, config.joints)
    if "hgg" in groupings:
        clusters["hgg"] = predictor.group(candidates)
    if "oracle" in groupings:
        targets = true_people(records, detections.transforms, candidates.size.tolist(), config.joints)
        targets = Targets(*(part.to(candidates.xy.device) for part in targets))
        clusters["oracle"] = group_oracle(candidates, targets, config.joints)
        label_BN = assign(candidates, targets, config.joints).cpu().numpy()
        labelled_B = (targets.joints[..., 2] > 0).sum((1, 2)).tolist()
        fates = {name: _fates(label_BN, found, labelled_B) for name, found in clusters.items()}
    people = {name: predictor.people(detections, found) for name, found in clusters.items()}
    return detections, people, fates


def _fates(label_BN: np.ndarray, clusters: Clusters, labelled_B: list[int]) -> list[Fates]:
    member_BN = clusters.member.cpu().numpy()
    return [count_fates(*image) for image in zip(label_BN, member_BN, labelled_B, strict=True)]


def true_people(
    records: list[dict[str, Any]],
    transforms: np.ndarray,
    sizes: Sequence[Sequence[int]],
    skeleton: Skeleton = COCO_JOINTS,
) -> Targets:
    """Joints, areas and masks of records under their transforms (B, 2, 3), on the CPU; without heatmaps.

    Args:
        records: of a batch.
        transforms: original pixels to input pixels.
        sizes: columns and rows of each image's output maps. Masks are as large as the largest, 0 beyond.
        skeleton: the people's joint types.
    """
    labels = [
        to_labels(record, transform, *size, joint_types=skeleton.count)
        for record, transform, size in zip(records, transforms, sizes, strict=True)
    ]
    most = max(len(label.areas) for label in labels)
    joints_BPJ3 = torch.zeros(len(labels), most, skeleton.count, 3)
    areas_BP = torch.zeros(len(labels), most)
    for place, label in enumerate(labels):
        joints_BPJ3[place, : len(label.areas)] = torch.from_numpy(label.joints)
        areas_BP[place, : len(label.areas)] = torch.from_numpy(label.areas)
    columns, rows = np.max(sizes, axis=0)
    mask_BSS = torch.zeros(len(labels), int(rows), int(columns))
    for place, (label, size) in enumerate(zip(labels, sizes, strict=True)):
        mask_BSS[place, : size[1], : size[0]] = torch.from_numpy(label.mask)
    heatmaps: Tensor = torch.zeros(len(labels), skeleton.count, 0, 0)
    return Targets(heatmaps, mask_BSS, joints_BPJ3, areas_BP)
