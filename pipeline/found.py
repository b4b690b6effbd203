"""What an evaluation keeps of the images it has gone through, and its log lines on the way."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hgg.poses import Poses
from pipeline.detections import coco_rows
from pipeline.grouping_errors import Fates
from pipeline.metrics import Detection
from pipeline.pictures import crowding

LOG_SECONDS = 10.0

log = logging.getLogger(__name__)


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


class Progress:
    """Log lines with the rate and the time left, as images are done."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.begun = self.logged = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the start, never zero."""
        return max(time.perf_counter() - self.begun, 1e-6)

    def add(self, images: int) -> None:
        """Count images; a line every so many seconds."""
        self.done += images
        if time.perf_counter() - self.logged > LOG_SECONDS:
            self.logged = time.perf_counter()
            rate = self.done / self.seconds
            log.info(
                "evaluated %d of %d images, %.1f images/s, %.0f s left",
                *(self.done, self.total, rate, (self.total - self.done) / rate),
            )
