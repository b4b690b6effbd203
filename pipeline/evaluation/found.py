"""What an evaluation keeps of the images it has gone through, in memory and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hgg.poses import Poses
from pipeline.base.files import write_json
from pipeline.data.shards import records_manifest
from pipeline.evaluation.truth import crowding
from pipeline.metrics.detections import Detection, coco_rows
from pipeline.metrics.fates import Fates


class Portion(NamedTuple):
    """What is looked at in one go: the first images of a shard of records."""

    shard: int
    images: int


@dataclass
class Found:
    """What is kept of the images gone through so far."""

    rows: dict[str, list[Detection]] = field(default_factory=dict)
    image_ids: list[int] = field(default_factory=list)
    people: int = 0
    candidates: int = 0
    fates: dict[str, dict[int, Fates]] = field(default_factory=dict)
    crowding: dict[int, float] = field(default_factory=dict)
    """How much the labelled people overlap, by image id."""

    def add_image(
        self, record: dict[str, Any], people: Mapping[Any, Poses], fates: Mapping[Any, Fates]
    ) -> None:
        """Keep an image's people."""
        image_id = record["image_id"]
        self.image_ids.append(image_id)
        self.people += len(record["people"])
        self.crowding[image_id] = crowding(record)
        for grouping, poses in people.items():
            self.rows.setdefault(grouping, []).extend(coco_rows(image_id, poses))
        for grouping, counted in fates.items():
            self.fates.setdefault(grouping, {})[image_id] = counted

    def add(self, part: "Found") -> None:
        """Keep what was found in other images, which come after these."""
        self.image_ids += part.image_ids
        self.people += part.people
        self.candidates += part.candidates
        self.crowding |= part.crowding
        for grouping, rows in part.rows.items():
            self.rows.setdefault(grouping, []).extend(rows)
        for grouping, counted in part.fates.items():
            self.fates.setdefault(grouping, {}).update(counted)


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


def write_found(path: Path, found: Found) -> None:
    """Keep what was found, every number with all its digits."""
    rows = {
        grouping: [row | {"keypoints": row["keypoints"].tolist()} for row in of_grouping]
        for grouping, of_grouping in found.rows.items()
    }
    fates = {grouping: [*counted.items()] for grouping, counted in found.fates.items()}
    kept = {"rows": rows, "fates": fates, "crowding": [*found.crowding.items()]}
    plain = {"image_ids": found.image_ids, "people": found.people, "candidates": found.candidates}
    write_json(path, plain | kept)


def read_found(path: Path) -> Found:
    """What `write_found` kept."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = {
        grouping: [row | {"keypoints": np.array(row["keypoints"])} for row in of_grouping]
        for grouping, of_grouping in kept["rows"].items()
    }
    fates = {
        grouping: {image_id: Fates(*counts) for image_id, counts in counted}
        for grouping, counted in kept["fates"].items()
    }
    return Found(
        rows, kept["image_ids"], kept["people"], kept["candidates"], fates, dict(map(tuple, kept["crowding"]))
    )
