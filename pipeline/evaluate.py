"""A model over the images of a split: people in original pixels and their AP.

One forward pass serves three groupings: associative embedding (AE), HGG and the oracle. Needs neither Ray
nor MLflow. What is kept of an image is its detections, so memory does not grow with pictures or maps.

Letters: B images, P people, J joint types, S side of the output maps in cells.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
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
from pipeline.command import UserError
from pipeline.detections import coco_rows
from pipeline.encode import to_labels
from pipeline.grouping_errors import Fates, count_fates
from pipeline.jpeg import decode_picture
from pipeline.metrics import Detection
from pipeline.pictures import Gallery
from pipeline.scoring import load_truth, score
from pipeline.shard_writer import chunks
from pipeline.shards import read_records, records_manifest

Grouping = Literal["ae", "hgg", "oracle"]
GROUPINGS: tuple[Grouping, ...] = ("ae", "hgg", "oracle")
LOG_SECONDS = 10.0

log = logging.getLogger(__name__)


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
    try:
        truth = load_truth(annotations, model.config.skeleton)
    except ValueError as error:
        raise UserError(str(error)) from error
    known = len(truth.imgs) if shards is None else _rows(records, shards)
    total = min(limit or known, known)
    found = _Found({grouping: [] for grouping in groupings})
    predictor = Predictor(model, inference=inference)
    begun = logged = time.perf_counter()
    for batch in chunks(islice(read_records(records, shards), limit or None), batch_size):
        _check_known(batch, truth, records, annotations)
        images = [decode_picture(record["jpeg"]) for record in batch]
        detections, people, fates = _people(predictor, batch, images, groupings)
        found.candidates += int(detections.candidates.valid.sum())
        for place, (record, image) in enumerate(zip(batch, images, strict=True)):
            of_image = {grouping: people[grouping][place] for grouping in groupings}
            found.add(record, of_image, {grouping: each[place] for grouping, each in fates.items()})
            if gallery is not None:
                gallery.offer(record, image, of_image)
        if time.perf_counter() - logged > LOG_SECONDS:
            logged = time.perf_counter()
            _log_progress(len(found.image_ids), total, logged - begun)
    counts = found.counts(total, time.perf_counter() - begun)
    rules, images = model.config.skeleton, found.image_ids
    ap = {grouping: score(truth, rows, rules, images) for grouping, rows in found.rows.items()}
    return Evaluation(ap, found.rows, counts, images, truth, found.fates, rules)


def _rows(records: Path, shards: range) -> int:
    rows = records_manifest(records).shards
    return sum(rows[shard]["rows"] for shard in shards)


@dataclass
class _Found:
    """What is kept of the images gone through so far."""

    rows: dict[str, list[Detection]]
    image_ids: list[int] = field(default_factory=list)
    people: int = 0
    candidates: int = 0
    fates: dict[str, dict[int, Fates]] = field(default_factory=dict)

    def add(
        self, record: dict[str, Any], people: Mapping[Grouping, Poses], fates: Mapping[Grouping, Fates]
    ) -> None:
        self.image_ids.append(record["image_id"])
        self.people += len(record["people"])
        for grouping, poses in people.items():
            self.rows[grouping] += coco_rows(record["image_id"], poses)
        for grouping, counted in fates.items():
            self.fates.setdefault(grouping, {})[record["image_id"]] = counted

    def counts(self, total: int, seconds: float) -> dict[str, float]:
        images = len(self.image_ids)
        return {
            "images": images,
            "images_missing": total - images,
            "people": self.people,
            "candidates": self.candidates,
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 3),
        }


def _check_known(records: list[dict[str, Any]], truth: COCO, folder: Path, annotations: Path) -> None:
    for record in records:
        if record["image_id"] not in truth.imgs:
            raise UserError(
                f"{folder} holds image {record['image_id']}, which is not in {annotations}: run "
                "jobs/preprocess.py with this configuration"
            )


def _people(
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


def _log_progress(done: int, total: int, seconds: float) -> None:
    left = (total - done) * seconds / done
    log.info("evaluated %d of %d images, %.1f images/s, %.0f s left", done, total, done / seconds, left)
