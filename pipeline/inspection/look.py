"""Through a split's images as preprocessing goes, and what is to be seen there."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hgg.pictures import BadPicture, decode_picture
from hgg.skeleton import Skeleton
from pipeline.base.progress import Progress
from pipeline.data.formats import dialect_of, image_folder
from pipeline.data.records import plan_records, to_record
from pipeline.data.rejects import BadData, Rejection
from pipeline.data.remarks import Remark, remarks
from pipeline.inspection.suspects import Person, Suspect, suspects
from pipeline.inspection.thumbnails import part, whole
from pipeline.settings.config import RunConfig

SHOWN = 60  # pictures of the grid
OF_A_KIND = 24  # suspects of one kind with pictures


class Shown(NamedTuple):
    """A picture of the grid."""

    image_id: int
    file_name: str
    people: int
    jpeg: bytes


class Found(NamedTuple):
    """A suspect and where it is."""

    suspect: Suspect
    image_id: int
    file_name: str
    jpeg: bytes | None
    """None beyond `OF_A_KIND`."""


@dataclass
class Looked:
    """What is known of a split."""

    split: str
    images: int
    """Of the annotation file."""
    skeleton: Skeleton
    looked: int = 0
    """Whose pictures were opened."""
    people_per_image: Counter[int] = field(default_factory=Counter)
    sizes: list[float] = field(default_factory=list)
    """Longer side of each person's box in pixels."""
    joints: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """(J,) people who have each joint labelled."""
    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    grid: list[Shown] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    of_kind: Counter[str] = field(default_factory=Counter)
    """How many of `found` are of each kind."""

    @property
    def people(self) -> int:
        """With labelled joints."""
        return sum(count * images for count, images in self.people_per_image.items())

    @property
    def remarks(self) -> list[Remark]:
        """What preprocessing would say."""
        return remarks(self.counts | Counter(people=self.people))

    @property
    def kinds(self) -> dict[str, list[Found]]:
        """Suspects by kind, the worst kinds first as they come."""
        by_kind: dict[str, list[Found]] = {}
        for found in self.found:
            by_kind.setdefault(found.suspect.kind, []).append(found)
        return by_kind


def look_at(config: RunConfig, split: str, limit: int = 0) -> Looked:
    """Look at a split; its pictures are opened, checked as preprocessing would, and not kept.

    Args:
        config: of the data.
        split: its name.
        limit: pictures that are opened, spread over the split; 0 is all.

    Raises `UserError` where the annotation file is not COCO's, or nobody is labelled in it.
    """
    plan = plan_records(config, split)
    images = [image for shard in plan.shards for image in shard.inputs["images"]]
    chosen = images if not limit or limit >= len(images) else _spread(images, limit)
    skeleton = config.joints
    looked = Looked(split, len(images), skeleton, joints=np.zeros(skeleton.count, int))
    looked.rejected += plan.before.rejected
    looked.notes += plan.before.notes
    looked.counts.update(plan.before.counts)
    pictures, dialect = image_folder(config.data, split), dialect_of(skeleton)
    progress = Progress(f"inspect {split}", len(chosen))
    every = max(1, len(chosen) // SHOWN)
    for number, image in enumerate(chosen):
        looked.looked += 1
        try:
            record, labelled = to_record(image, pictures, dialect, config.data, looked.counts)
            looked.counts.update(+labelled.counts)
            _add(looked, record, labelled.truth, in_grid=number % every == 0 and len(looked.grid) < SHOWN)
        except (BadData, BadPicture) as error:
            where = image["image_id"], image["file_name"]
            looked.rejected.append(Rejection(*where, error.reason, error.detail))
        progress.add(1)
    return looked


def _add(looked: Looked, record: dict[str, Any], truth: list[dict[str, Any]], in_grid: bool) -> None:
    """What there is to see in an image."""
    skeleton, where = looked.skeleton, (record["image_id"], record["file_name"])
    people = [*_people(record, skeleton)]
    looked.people_per_image[len(people)] += 1
    for person in people:
        looked.sizes.append(float(person.box[2:].max()))
        looked.joints += person.joints[:, 2] > 0
    empty = [_box_alone(each, skeleton) for each in truth if not each["iscrowd"] and not _labelled(each)]
    doubts = suspects(people, empty, (record["width"], record["height"]), skeleton)
    picture = decode_picture(record["jpeg"]) if in_grid or doubts else np.zeros(0)
    for doubt in doubts:
        looked.of_kind[doubt.kind] += 1
        jpeg = (
            part(picture, doubt.people, doubt.joints, skeleton)
            if looked.of_kind[doubt.kind] <= OF_A_KIND
            else None
        )
        looked.found.append(Found(doubt, *where, jpeg))
    if in_grid:
        boxes = [np.array(each["bbox"]) for each in truth if not _labelled(each)]
        looked.grid.append(Shown(*where, len(people), whole(picture, people, boxes, skeleton)))


def _spread(images: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [images[place] for place in np.linspace(0, len(images) - 1, count).round().astype(int)]


def _people(record: dict[str, Any], skeleton: Skeleton) -> Iterator[Person]:
    for person in record["people"]:
        joints_J3 = np.reshape(np.array(person["keypoints"], float), (skeleton.count, 3))
        yield Person(person["annotation_id"], joints_J3, np.array(person["box"]), person["area"])


def _box_alone(truth: dict[str, Any], skeleton: Skeleton) -> Person:
    return Person(0, np.zeros((skeleton.count, 3)), np.array(truth["bbox"]), truth["area"])


def _labelled(truth: dict[str, Any]) -> bool:
    return not truth["iscrowd"] and any(truth["keypoints"][2::3])
