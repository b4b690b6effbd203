"""Photographs to people: one JSON file in COCO's annotation format, and one picture an image."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hgg.coco import annotations, category, image_entry
from hgg.draw import draw_poses
from hgg.explain_page import why_not
from hgg.pictures import LONGEST_JPEG_SIDE, BadPicture, decode_picture, picture_size
from hgg.poses import Poses, likely
from hgg.predictor import Predictor
from pipeline.base.errors import Failed, UserError, first_line
from pipeline.base.files import write_json, write_text
from pipeline.base.progress import Progress
from pipeline.data.picture_file import write_picture
from pipeline.prediction.explain import explain
from pipeline.prediction.sources import Source

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage

REJECTED = "rejected.jsonl"

log = logging.getLogger(__name__)


class Rejected(NamedTuple):
    """A line of rejected.jsonl: a file that is left out."""

    file: str
    reason: str
    """One word or two joined by an underscore, the same for all of a kind."""
    detail: str
    """What was found, and what to do."""


class Found(NamedTuple):
    """What came of a prediction."""

    counts: dict[str, int]
    """images, people, people_below_min_score."""
    rejected: list[Rejected]


def explainable(
    predictor: Predictor, sources: Sequence[Source], labels: Path | None
) -> "dict[Source, CocoImage | None]":
    """The labels of each source, None without a file of them, before anything is written.

    Args:
        labels: COCO keypoint annotation file, whose images are found by their file names.

    Raises:
        UserError: settings without rounds to show, an image that no page can hold, labels that are missing,
            or an image that is not in them.
    """
    if problem := why_not(predictor):
        raise UserError(f"--explain: {problem}")
    for path, _ in sources:
        if (size := _declared(path)) and max(size) > LONGEST_JPEG_SIDE:
            raise UserError(
                f"--explain: {path} is {size[0]} x {size[1]}, a page holds {LONGEST_JPEG_SIDE} a side at the "
                "most: leave it out, or cut it"
            )
    if labels is None:
        return dict.fromkeys(sources)
    # Imported here as nothing else of a prediction needs what reads labels: pyarrow and pycocotools.
    from pipeline.prediction.labels import read_labels

    known = read_labels(labels, predictor.model.config.joints)
    unknown = [source.path.name for source in sources if source.path.name not in known]
    if unknown:
        raise UserError(f"--labels={labels}: no image {unknown[0]} in it: give its labels, or leave them out")
    return {source: known[source.path.name] for source in sources}


def predict_images(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    *,
    batch_size: int,
    max_pixels: int | None = None,
    min_score: float = 0.0,
    max_rejected: int | None = None,
    labels: "Mapping[Source, CocoImage | None] | None" = None,
) -> Found:
    """Write {out}/people.json, last, and {out}/pictures/{name}.png; each file is read and decoded once.

    people.json is a COCO annotation file: `images` (id from 1, file_name, width, height), `annotations` (one
    a person, the best of an image first: keypoints with flag 2, or 0, 0, 0 where the joint is missing;
    num_keypoints, score, keypoint_scores, the bbox around the joints and its area) and `categories`. A
    photograph is read upright, as its orientation tag says, and positions are pixels of the upright picture.
    What cannot be read is left out, named in the log, and listed in {out}/rejected.jsonl.

    Args:
        predictor: finds the people.
        sources: files.
        out: folder.
        batch_size: images that go through the network together at the most.
        max_pixels: that one image, and those of a batch together, have at the most; None is no limit.
        min_score: people of a lower score are neither written nor drawn.
        max_rejected: files that are left out at the most; None is any number.
        labels: of `explainable`: each image's grouping is also written to {out}/explained, round by round.

    Raises:
        Failed: nothing could be read, or more than `max_rejected` could not.
    """
    written = _Written(predictor, out, dict(zip(sources, _picture_names(sources), strict=True)), min_score)
    rejected: list[Rejected] = []
    progress, seen = Progress("predict", len(sources)), 0
    for batch in _batches(sources, batch_size, max_pixels, rejected):
        _check_rejected(rejected, max_rejected, out)
        found = predictor.predict([picture for _, picture in batch])
        for (source, picture), people in zip(batch, found, strict=True):
            written.add(source, picture, people)
            if labels is not None:
                page = str(PurePosixPath(written.names[source]).with_suffix(""))
                explain(predictor, picture, page, out / "explained", labels[source], min_score)
        progress.add(len(written.entries) + len(rejected) - seen)
        seen = len(written.entries) + len(rejected)
    _check_rejected(rejected, max_rejected, out)
    if not written.entries:
        file, _, why = rejected[0]
        others = f" (and {len(rejected) - 1} more, none of which can be read)" if len(rejected) > 1 else ""
        raise Failed(f"{file}: {why}{others}")
    _list_rejected(out, rejected)
    return Found(written.finish(), rejected)


class _Written:
    """The people of the pictures so far: drawn at once, listed at the end."""

    def __init__(self, predictor: Predictor, out: Path, names: dict[Source, str], min_score: float) -> None:
        self.skeleton = predictor.model.config.joints
        self.out, self.names, self.min_score = out, names, min_score
        self.entries: list[dict[str, Any]] = []
        self.people: list[dict[str, Any]] = []
        self.below = 0

    def add(self, source: Source, picture: np.ndarray, everybody: Poses) -> None:
        poses = likely(everybody, self.min_score)
        self.below += len(everybody.score) - len(poses.score)
        drawn = draw_poses(picture, poses, skeleton=self.skeleton, min_score=self.min_score)
        write_picture(self.out / "pictures" / self.names[source], drawn)
        self.entries.append(image_entry(len(self.entries) + 1, source.name, picture))
        self.people += annotations(self.entries[-1]["id"], len(self.people) + 1, poses)

    def finish(self) -> dict[str, int]:
        """Write people.json; returns counts."""
        found = {"images": self.entries, "annotations": self.people, "categories": [category(self.skeleton)]}
        write_json(self.out / "people.json", found)
        return {
            "images": len(self.entries),
            "people": len(self.people),
            "people_below_min_score": self.below,
        }


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


def _declared(path: Path) -> tuple[int, int] | None:
    """Width and height by the header; None where the file has none, which reading it will say."""
    try:
        return picture_size(path.read_bytes())
    except (BadPicture, OSError):
        return None


def _check_rejected(rejected: list[Rejected], most: int | None, out: Path) -> None:
    if most is not None and len(rejected) > most:
        _list_rejected(out, rejected)
        file, _, why = rejected[0]
        raise Failed(
            f"{len(rejected)} files cannot be read, more than predict.max_rejected={most}; the first is "
            f"{file}: {why}. They are listed in {out / REJECTED}"
        )


def _list_rejected(out: Path, rejected: list[Rejected]) -> None:
    """One JSON object a line; a list of an earlier run goes where nothing is rejected any more."""
    if rejected or (out / REJECTED).exists():
        write_text(out / REJECTED, "".join(json.dumps(each._asdict()) + "\n" for each in rejected))


def _picture_names(sources: Sequence[Source]) -> list[str]:
    """Each name with .png; with its own suffix before where another is named alike; no name twice."""
    paths = [PurePosixPath(source.name) for source in sources]
    stems, names = Counter(path.with_suffix("") for path in paths), dict[str, None]()
    for path in paths:
        plain = str(path.with_suffix("") if stems[path.with_suffix("")] == 1 else path)
        more = (f"{path}-{number}" for number in count(2))
        names[next(f"{name}.png" for name in chain([plain], more) if f"{name}.png" not in names)] = None
    return [*names]
