"""A model over the images of a split: people in original pixels and their AP.

One forward pass serves three groupings: associative embedding (AE), HGG and the oracle. Needs neither Ray
nor MLflow. What is kept of an image is its detections, so memory does not grow with pictures or maps.

Letters: B images, P people, J joint types, S side of the output maps in cells.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgg.associative import group_associative
from hgg.clusters import Clusters
from hgg.model import HGG
from hgg.oracle import group_oracle
from hgg.poses import Poses
from hgg.predictor import Detections, Predictor
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets
from pipeline.encode import to_labels
from pipeline.files import atomic_path
from pipeline.jpeg import decode_picture
from pipeline.metrics import Detection, coco_metrics, load_annotations
from pipeline.pictures import Gallery
from pipeline.shards import read_records

Grouping = Literal["ae", "hgg", "oracle"]
GROUPINGS: tuple[Grouping, ...] = ("ae", "hgg", "oracle")
PERSON = 1  # COCO's category
MOST_PEOPLE = 20  # of an image that COCO's evaluation looks at, the highest scores first
LOG_SECONDS = 10.0

log = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """What an evaluation found, by grouping."""

    ap: dict[str, dict[str, float]]
    """COCO's figures by name (`pipeline.metrics.METRICS`)."""
    detections: dict[str, list[Detection]]
    """Rows of a COCO result file; `write_detections` writes them."""
    counts: dict[str, float]
    """images, images_missing (in the annotations, not in the records), people, candidates, seconds,
    images_per_second."""


def evaluate_model(
    model: HGG,
    records: Path,
    annotations: Path,
    *,
    batch_size: int,
    groupings: Sequence[Grouping] = GROUPINGS,
    limit: int = 0,
    gallery: Gallery | None = None,
) -> Evaluation:
    """Detect once and group in several ways the people of every image, also of those without people.

    Args:
        model: on the device that it is to run on; its mode is left as it was.
        records: folder of the split's records.
        annotations: the split's COCO annotation file, from which AP is computed.
        batch_size: images per forward pass.
        groupings: `ae`, `hgg`, `oracle` (candidates grouped by ground truth).
        limit: only so many images, the first of the records; 0 is all. AP is then over these alone.
        gallery: is offered every image with its people, for pictures.

    Raises:
        UserError: no finished records in the folder.
        ValueError: records of images that the annotations do not hold.
    """
    truth = load_annotations(annotations)
    total = min(limit or len(truth.imgs), len(truth.imgs))
    found = _Found({grouping: [] for grouping in groupings})
    begun = logged = time.perf_counter()
    for batch in _batches(islice(read_records(records), limit or None), batch_size):
        images = [decode_picture(record["jpeg"]) for record in batch]
        detections, people = _people(model, batch, images, groupings)
        found.candidates += int(detections.candidates.valid.sum())
        for place, (record, image) in enumerate(zip(batch, images, strict=True)):
            of_image = {grouping: people[grouping][place] for grouping in groupings}
            found.add(record, of_image)
            if gallery is not None:
                gallery.offer(record, image, of_image)
        if time.perf_counter() - logged > LOG_SECONDS:
            logged = time.perf_counter()
            _log_progress(len(found.image_ids), total, logged - begun)
    counts = found.counts(total, time.perf_counter() - begun)
    ap = {grouping: coco_metrics(truth, rows, found.image_ids) for grouping, rows in found.rows.items()}
    return Evaluation(ap, found.rows, counts)


@dataclass
class _Found:
    """What is kept of the images gone through so far."""

    rows: dict[str, list[Detection]]
    image_ids: list[int] = field(default_factory=list)
    people: int = 0
    candidates: int = 0

    def add(self, record: dict[str, Any], people: Mapping[Grouping, Poses]) -> None:
        self.image_ids.append(record["image_id"])
        self.people += len(record["people"])
        for grouping, poses in people.items():
            self.rows[grouping] += coco_rows(record["image_id"], poses)

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


def _batches(records: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    records = iter(records)
    while batch := list(islice(records, size)):
        yield batch


def _people(
    model: HGG, records: list[dict[str, Any]], images: list[np.ndarray], groupings: Sequence[Grouping]
) -> tuple[Detections, dict[Grouping, list[Poses]]]:
    """One forward pass, and each grouping's people in original pixels."""
    predictor = Predictor(model)
    detections = predictor.detect(images)
    candidates, config = detections.candidates, model.config
    people = {}
    for grouping in groupings:
        clusters: Clusters
        if grouping == "ae":
            clusters = group_associative(candidates, config.grouping.tag_threshold)
        elif grouping == "hgg":
            clusters = predictor.group(candidates)
        else:
            targets = true_people(records, detections.transforms, config.network.output_size)
            clusters = group_oracle(candidates, Targets(*(part.to(candidates.xy.device) for part in targets)))
        people[grouping] = predictor.people(detections, clusters)
    return detections, people


def true_people(records: list[dict[str, Any]], transforms: np.ndarray, output_size: int) -> Targets:
    """Joints, areas and masks of records under their transforms (B, 2, 3), on the CPU; without heatmaps."""
    labels = [
        to_labels(record, transform, output_size)
        for record, transform in zip(records, transforms, strict=True)
    ]
    most = max(len(label.areas) for label in labels)
    joints_BPJ3 = torch.zeros(len(labels), most, NUM_JOINTS, 3)
    areas_BP = torch.zeros(len(labels), most)
    for place, label in enumerate(labels):
        joints_BPJ3[place, : len(label.areas)] = torch.from_numpy(label.joints)
        areas_BP[place, : len(label.areas)] = torch.from_numpy(label.areas)
    mask_BSS = torch.from_numpy(np.stack([label.mask for label in labels])).float()
    heatmaps: Tensor = torch.zeros(len(labels), NUM_JOINTS, 0, 0)
    return Targets(heatmaps, mask_BSS, joints_BPJ3, areas_BP)


def coco_rows(image_id: int, poses: Poses) -> list[Detection]:
    """Rows of a COCO result file, at most COCO's 20 an image; positions to a hundredth of a pixel.

    A joint that is missing even after filling stands at the mean of the person's others, as in AE. OKS looks
    at labelled joints alone, so a place near the person can only help; and pycocotools takes the extent of
    all 17 places as the person's size, which a missing joint at (0, 0) would falsify.
    """
    rows = []
    for joints_J3, score in zip(poses.keypoints[:MOST_PEOPLE].astype(np.float64), poses.score, strict=False):
        found = joints_J3[:, 2] > 0
        places = np.ones_like(joints_J3)
        places[:, :2] = np.where(found[:, None], joints_J3[:, :2], joints_J3[found, :2].mean(axis=0))
        row = {"image_id": image_id, "category_id": PERSON, "keypoints": places.round(2).ravel()}
        rows.append(row | {"score": round(float(score), 6)})
    return rows


def write_detections(path: Path, rows: Iterable[Detection]) -> None:
    """Write a COCO result file, whole or not at all, one person a line."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "[\n"
        for row in rows:
            file.write(separator + json.dumps(row | {"keypoints": row["keypoints"].tolist()}))
            separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")


def _log_progress(done: int, total: int, seconds: float) -> None:
    left = (total - done) * seconds / done
    log.info("evaluated %d of %d images, %.1f images/s, %.0f s left", done, total, done / seconds, left)
