"""Photographs to people, a portion at a time: who is found, a picture of them, and what cannot be read."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hgg.coco import annotations, image_entry
from hgg.draw import draw_poses
from hgg.pictures import BadPicture, decode_picture
from hgg.poses import Poses, likely
from hgg.predictor import Predictor
from pipeline.base.errors import Failed, first_line
from pipeline.base.progress import Progress
from pipeline.data.picture_file import write_picture
from pipeline.prediction.explain import explain
from pipeline.prediction.sources import Source

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage

log = logging.getLogger(__name__)


class Rejected(NamedTuple):
    """A line of rejected.jsonl: a file that is left out."""

    file: str
    reason: str
    """One word or two joined by an underscore, the same for all of a kind."""
    detail: str
    """What was found, and what to do."""


class NothingRead(Failed):
    """None of the files could be read.

    Args:
        rejected: all of them, at least one.
        kind: what they are, for the message.
    """

    def __init__(self, rejected: "list[Rejected]", kind: str = "files") -> None:
        file, _, why = rejected[0]
        others = f" (of {len(rejected)} {kind} none can be read)" if len(rejected) > 1 else ""
        super().__init__(f"{file}: {why}{others}")
        self.rejected = rejected


class Plan(NamedTuple):
    """A prediction as a piece of work, plain enough to be sent to workers."""

    out: Path
    """For pictures and pages."""
    folder: Path
    """For what was found in the shards, until it is summed up."""
    batch_size: int
    """Images that go through the network together at the most."""
    max_pixels: int | None = None
    """That one image, and those of a batch together, have at the most; None is no limit."""
    min_score: float = 0.0
    """People of a lower score are neither written nor drawn."""
    max_rejected: int | None = None
    """Files that are left out at the most; None is any number."""
    pictures: bool = True
    """Whether people are drawn."""


class Portion(NamedTuple):
    """A shard: sources that are looked at in one go."""

    number: int
    sources: list[Source]
    names: list[str]
    """Of the pictures that are drawn."""
    labels: "list[CocoImage | None] | None" = None
    """Where the groupings are explained: what is known of each picture."""


class Part(NamedTuple):
    """What was found in a portion; pictures and people are numbered from 1 in each."""

    images: list[dict[str, Any]]
    """As COCO's files have them, in the order of the sources."""
    annotations: list[dict[str, Any]]
    rejected: list[Rejected]
    below: int
    """People whose score is below the least one."""


def predict_portion(
    predictor: Predictor, plan: Plan, portion: Portion, progress: Progress | None = None
) -> Part:
    """Find the people of a portion's files, each of which is read and decoded once; draw and explain them.

    What cannot be read is left out and named in the log. It ends early where the portion alone has more of it
    than `plan.max_rejected`.
    """
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    place_of = {source: place for place, source in enumerate(portion.sources)}
    below = seen = 0
    for batch in _batches(portion.sources, plan.batch_size, plan.max_pixels, rejected):
        if plan.max_rejected is not None and len(rejected) > plan.max_rejected:
            break
        found = predictor.predict([picture for _, picture in batch])
        for (source, picture), everybody in zip(batch, found, strict=True):
            poses = likely(everybody, plan.min_score)
            below += len(everybody.score) - len(poses.score)
            _show(predictor, plan, portion, place_of[source], picture, poses)
            images.append(image_entry(len(images) + 1, source.name, picture))
            people.extend(annotations(len(images), len(people) + 1, poses))
        if progress is not None:
            progress.add(len(images) + len(rejected) - seen)
        seen = len(images) + len(rejected)
    return Part(images, people, rejected, below)


def _show(
    predictor: Predictor, plan: Plan, portion: Portion, place: int, picture: np.ndarray, poses: Poses
) -> None:
    """Draw a picture's people, and explain them where that is asked for."""
    name = portion.names[place]
    if plan.pictures:
        skeleton = predictor.model.config.joints
        drawn = draw_poses(picture, poses, skeleton=skeleton, min_score=plan.min_score)
        write_picture(plan.out / "pictures" / name, drawn)
    if portion.labels is not None:
        page = str(PurePosixPath(name).with_suffix(""))
        explain(predictor, picture, page, plan.out / "explained", portion.labels[place], plan.min_score)


def _batches(
    sources: Sequence[Source], batch_size: int, max_pixels: int | None, rejected: list[Rejected]
) -> Iterator[list[tuple[Source, np.ndarray]]]:
    """The pictures in their order, so many and of so many pixels at once; what is none goes to `rejected`."""
    batch: list[tuple[Source, np.ndarray]] = []
    pixels = 0
    for source in sources:
        picture = _read(source.path, max_pixels)
        if isinstance(picture, Rejected):
            log.warning("predict: %s is left out: %s", source.name, picture.detail)
            rejected.append(picture)
            continue
        own = picture.shape[0] * picture.shape[1]
        if batch and (len(batch) == batch_size or (max_pixels is not None and pixels + own > max_pixels)):
            yield batch
            batch, pixels = [], 0
        batch.append((source, picture))
        pixels += own
    if batch:
        yield batch


def _read(path: Path, max_pixels: int | None) -> np.ndarray | Rejected:
    try:
        return decode_picture(path.read_bytes(), upright=True, max_pixels=max_pixels)
    except BadPicture as error:
        detail = (
            f"{error}: make it smaller, or raise predict.max_pixels"
            if error.reason == "too_large"
            else f"not a whole picture: {error}: remove or replace it"
        )
        return Rejected(str(path), error.reason, detail)
    except OSError as error:  # a folder, or a link that leads nowhere
        return Rejected(
            str(path), "unreadable_file", f"{error.strerror or first_line(error)}: remove or replace it"
        )


def picture_names(sources: Sequence[Source]) -> list[str]:
    """Each name with .png; with its own suffix before where another is named alike; no name twice."""
    paths = [PurePosixPath(source.name) for source in sources]
    stems, names = Counter(path.with_suffix("") for path in paths), dict[str, None]()
    for path in paths:
        plain = str(path.with_suffix("") if stems[path.with_suffix("")] == 1 else path)
        more = (f"{path}-{number}" for number in count(2))
        names[next(f"{name}.png" for name in chain([plain], more) if f"{name}.png" not in names)] = None
    return [*names]
