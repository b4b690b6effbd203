"""What an evaluation keeps of the images it has gone through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hgg.poses import Poses
from pipeline.detections import coco_rows
from pipeline.grouping_errors import Fates
from pipeline.metrics import Detection
from pipeline.pictures import crowding


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
