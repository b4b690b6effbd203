"""The people of a batch and of a shard, by three groupings of the same candidates."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hgg.clusters import Clusters
from hgg.groupings import GROUPINGS, GroupingName
from hgg.labels import assign
from hgg.pictures import decode_picture
from hgg.poses import Poses
from hgg.predictor import Detections, Predictor
from hgg.targets import Targets
from pipeline.base.progress import Progress, chunks
from pipeline.data.rows import read_rows
from pipeline.data.shards import shard_file
from pipeline.evaluation.found import Found, Portion
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.truth import true_people
from pipeline.metrics.fates import Fates, count_fates


def people_of(
    predictor: Predictor,
    records: list[dict[str, Any]],
    images: list[np.ndarray],
    groupings: Sequence[GroupingName],
) -> tuple[Detections, dict[GroupingName, list[Poses]], dict[GroupingName, list[Fates]]]:
    """What the network finds, each grouping's people in original pixels, and the fates of the keypoints.

    The truth is looked at for the oracle alone; without it there are no fates.
    """
    detections = predictor.detect(images)
    candidates, joints = detections.candidates, predictor.model.config.joints
    targets: Targets | None = None
    if "oracle" in groupings:
        targets = true_people(records, detections.transforms, candidates.size.tolist(), joints)
        targets = Targets(*(part.to(candidates.xy.device) for part in targets))
    chosen = [name for name in GROUPINGS if name in groupings]
    clusters = {name: predictor.clusters_of(candidates, name, targets) for name in chosen}
    fates: dict[GroupingName, list[Fates]] = {}
    if targets is not None:
        label_BN = assign(candidates, targets, joints).cpu().numpy()
        labelled_B = (targets.joints[..., 2] > 0).sum((1, 2)).tolist()
        fates = {name: _fates(label_BN, found, labelled_B) for name, found in clusters.items()}
    people = {name: predictor.people(detections, found) for name, found in clusters.items()}
    return detections, people, fates


def find_people(
    predictor: Predictor,
    records: Path,
    portion: Portion,
    batch_size: int,
    groupings: Sequence[GroupingName] = GROUPINGS,
    gallery: Gallery | None = None,
    progress: Progress | None = None,
) -> Found:
    """The people of the images of a shard."""
    found = Found()
    for batch in batches_of(records, portion, batch_size):
        found.add(find_in_batch(predictor, batch, groupings, gallery))
        if progress is not None:
            progress.add(len(batch))
    return found


def batches_of(records: Path, portion: Portion, batch_size: int) -> Iterator[list[dict[str, Any]]]:
    """The records of each batch; none holds images of two shards, so that shards may be shared out."""
    rows = islice(read_rows([records / shard_file(portion.shard)]), portion.images)
    return chunks(rows, batch_size)


@torch.no_grad()
def find_in_batch(
    predictor: Predictor,
    batch: list[dict[str, Any]],
    groupings: Sequence[GroupingName] = GROUPINGS,
    gallery: Gallery | None = None,
) -> Found:
    """The people of the images of a batch of records."""
    found = Found()
    images = [decode_picture(record["jpeg"]) for record in batch]
    detections, people, fates = people_of(predictor, batch, images, groupings)
    found.candidates = int(detections.candidates.valid.sum())
    for place, (record, image) in enumerate(zip(batch, images, strict=True)):
        of_image = {grouping: people[grouping][place] for grouping in groupings}
        found.add_image(record, of_image, {grouping: each[place] for grouping, each in fates.items()})
        if gallery is not None:
            gallery.offer(record, image, of_image)
    return found


def _fates(label_BN: np.ndarray, clusters: Clusters, labelled_B: list[int]) -> list[Fates]:
    member_BN = clusters.member.cpu().numpy()
    return [count_fates(*image) for image in zip(label_BN, member_BN, labelled_B, strict=True)]
