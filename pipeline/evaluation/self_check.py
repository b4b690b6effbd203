"""The truth scored by itself: before hours are spent, whether labels that are found perfectly would count."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hgg import transform as geometry
from hgg.config import NetworkConfig
from hgg.poses import Poses
from hgg.skeleton import Skeleton
from pipeline.data.encode import to_labels
from pipeline.data.rows import read_rows
from pipeline.data.shards import records_manifest, shard_number
from pipeline.data.truth import read_truth
from pipeline.metrics.ap import score, to_truth
from pipeline.metrics.detections import MOST_PEOPLE, coco_rows

IMAGES = 10
LEAST_AP = 0.95


def truth_problem(records: Path, joints: Skeleton, network: NetworkConfig) -> str:
    """What is wrong where the people of ten images, scored by their own truth, have an AP below `LEAST_AP`.

    They take the way of a perfect model: through the network's output maps and back to the picture. Images of
    more people than AP counts are passed over.

    Args:
        records: folder of a split's records.
        joints: its skeleton.
        network: for the size of its input and maps.

    Returns: a sentence with the AP and what can be seen of the reason; empty where all is well.

    Raises `UserError` where records or truth are not there.
    """
    chosen = list(islice(_with_people(records), IMAGES))
    shards = sorted({shard for shard, _ in chosen})
    truth = to_truth(read_truth(records, shards), joints)
    images = {record["image_id"]: record for _, record in chosen}
    rows = [
        row for number, record in images.items() for row in coco_rows(number, _seen(record, joints, network))
    ]
    ap = score(truth, rows, joints, [*images])["AP"]
    if not 0 <= ap < LEAST_AP:  # -1 where nobody counts
        return ""
    return (
        f"{records}: the labelled people of {len(images)} images, scored as if a model had found each of "
        f"their joints, have AP {ap:.3f} and should have 1: {_why([*images.values()], joints)}; no training "
        "can mend that: look at the annotation file, and run jobs/preprocess.py again"
    )


def _with_people(records: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Images with labelled people and the shards that they are in."""
    for file in records_manifest(records).files:
        for record in read_rows([file], IMAGES):
            if 0 < len(record["people"]) <= MOST_PEOPLE:
                yield shard_number(file), record


def _seen(record: dict[str, Any], joints: Skeleton, network: NetworkConfig) -> Poses:
    """The people as the network could at best see them: joints in its output maps, brought back to pixels."""
    transform = geometry.letterbox(record["width"], record["height"], network.input_size)
    labels = to_labels(record, transform, network.output_size, joint_types=joints.count)
    seen = labels.joints[(labels.joints[..., 2] > 0).any(axis=1)]
    pixels = geometry.to_pixels(seen[..., :2].astype(np.float64))
    places = geometry.apply(geometry.invert(transform), pixels)
    keypoints_PJ3 = np.concatenate([places, seen[..., 2:]], axis=-1).astype(np.float32)
    return Poses(keypoints_PJ3, np.ones(len(seen), np.float32))


def _why(images: list[dict[str, Any]], joints: Skeleton) -> str:
    """What can be seen of labels that do not count: joints outside of pictures, people of no size."""
    people = [(record, person) for record in images for person in record["people"]]
    labelled = outside = 0
    for record, person in people:
        keypoints_J3 = np.reshape(person["keypoints"], (joints.count, 3))
        places = keypoints_J3[keypoints_J3[:, 2] > 0, :2]
        size = (record["width"], record["height"])
        labelled += len(places)
        outside += int(((places < 0) | (places >= size)).any(axis=1).sum())
    sides = np.array([max(person["box"][2:]) for _, person in people])
    said = [f"{outside} of {labelled} labelled joints are outside of their pictures"] if outside else []
    said += [f"the boxes of the people are {np.median(sides):.3g} pixels large"]
    return ", ".join(said)
