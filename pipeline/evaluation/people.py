"""The people of a batch and of a shard, by three groupings of the same candidates."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hgg.associative import group_associative
from hgg.clusters import Clusters
from hgg.labels import assign
from hgg.oracle import group_oracle
from hgg.poses import Poses
from hgg.predictor import Detections, Predictor
from hgg.targets import Targets
from pipeline.base.progress import Progress, chunks
from pipeline.data.pictures import decode_picture
from pipeline.data.rows import read_rows
from pipeline.data.shards import shard_file
from pipeline.evaluation.found import Found, Portion
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.truth import true_people
from pipeline.metrics.fates import Fates, count_fates

Grouping = Literal["ae", "hgg", "oracle"]
GROUPINGS: tuple[Grouping, ...] = ("ae", "hgg", "oracle")


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


def _fates(label_BN: np.ndarray, clusters: Clusters, labelled_B: list[int]) -> list[Fates]:
    member_BN = clusters.member.cpu().numpy()
    return [count_fates(*image) for image in zip(label_BN, member_BN, labelled_B, strict=True)]
