"""A prediction by shards: each leaves a file when it is done, and they are summed up to people.json.

A killed one goes on at the first shard that is missing, and who did which does not show in what comes out.
"""

import json
import logging
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hgg.coco import category
from hgg.predictor import Predictor
from hgg.skeleton import Skeleton
from pipeline.base.errors import Failed
from pipeline.base.files import atomic_path, remove_leftovers, write_json, write_text
from pipeline.base.progress import Progress, chunks
from pipeline.base.s3 import in_store
from pipeline.prediction.predict import (
    NothingRead,
    Part,
    Plan,
    Portion,
    Rejected,
    picture_names,
    predict_portion,
)
from pipeline.prediction.sources import Source
from pipeline.settings.fingerprint import fingerprint

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage

FOLDER = "shards"
REJECTED = "rejected.jsonl"
SHARD_IMAGES = 256

Work = Callable[[list[Portion], Progress], Iterator[list[Rejected]]]
"""Does portions, keeps a part of each, and yields what was left out in each as they are done."""

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What came of a prediction."""

    counts: dict[str, int]
    """images, people, people_below_min_score."""
    rejected: list[Rejected]


def predict_images(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    *,
    batch_size: int,
    labels: "Mapping[Source, CocoImage | None] | None" = None,
    shard_images: int = SHARD_IMAGES,
    identity: Mapping[str, Any] | None = None,
    work: Callable[[Plan], Work] | None = None,
    **options: Any,
) -> Found:
    """Write {out}/people.json, last, and {out}/pictures/{name}.png.

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
        labels: of `explainable`: each image's grouping is also written to {out}/explained, round by round.
        shard_images: files of a shard, after which what was found is kept.
        identity: what else the findings depend on: the model and its settings.
        work: who does the shards; None is this process.
        options: others of `Plan`.

    Raises:
        NothingRead: what it says; nothing is written then.
        Failed: more than `max_rejected` could not be read.
    """
    folder = shard_folder(out, sources, {"batch_size": batch_size, **options, **(identity or {})})
    plan = Plan(out, folder, batch_size, **options)

    def here(portions: list[Portion], progress: Progress) -> Iterator[list[Rejected]]:
        for portion in portions:
            yield keep_part(predictor, plan, portion, progress)

    shards = portioned(sources, labels, shard_images)
    return predict_shards(plan, shards, predictor.model.config.joints, work(plan) if work else here)


def shard_folder(out: Path, sources: Sequence[Source], identity: Mapping[str, Any]) -> Path:
    """Where the shards of a prediction are kept: other files, models and settings have another folder.

    Files of this machine are known by size and time of change too; to ask a store of each would take minutes.
    """
    files = [[str(source.path), source.name, *_state(source.path)] for source in sources]
    return out / FOLDER / fingerprint({"files": files, **identity})


def portioned(
    sources: Sequence[Source], labels: "Mapping[Source, CocoImage | None] | None", shard_images: int
) -> list[Portion]:
    """Sources as shards, in their order."""
    named = zip(sources, picture_names(sources), strict=True)
    return [
        Portion(
            number,
            [source for source, _ in chunk],
            [name for _, name in chunk],
            None if labels is None else [labels[source] for source, _ in chunk],
        )
        for number, chunk in enumerate(chunks(named, shard_images))
    ]


def predict_shards(plan: Plan, portions: Sequence[Portion], skeleton: Skeleton, work: Work) -> Found:
    """Have the shards done that are missing, and sum all of them up; see `predict_images`."""
    out_was_there = plan.out.exists()
    standing = [portion for portion in portions if part_file(plan, portion).is_file()]
    there = {portion.number for portion in standing}
    todo = [portion for portion in portions if portion.number not in there]
    if standing:
        log.info("predict: %d of %d shards are there already", len(standing), len(portions))
    progress = Progress("predict", sum(len(portion.sources) for portion in todo))
    rejected = [each for portion in standing for each in read_part(plan, portion).rejected]
    for left_out in work(todo, progress):
        rejected += left_out
        if plan.max_rejected is not None and len(rejected) > plan.max_rejected:
            _remove_parts(plan, portions, out_was_there)
            too_many(plan.out, rejected, plan.max_rejected)
    found = _sum_up(plan, portions, skeleton)
    _remove_parts(plan, portions, out_was_there)
    if not found.counts["images"]:
        raise NothingRead(found.rejected)
    return found


def keep_part(
    predictor: Predictor, plan: Plan, portion: Portion, progress: Progress | None = None
) -> list[Rejected]:
    """Find the people of a shard and keep them; returns what was left out."""
    part = predict_portion(predictor, plan, portion, progress)
    if plan.max_rejected is None or len(part.rejected) <= plan.max_rejected:  # else it ended early
        write_json(part_file(plan, portion), part._asdict())
    return part.rejected


def part_file(plan: Plan, portion: Portion) -> Path:
    """Where it is kept what was found in a shard."""
    return plan.folder / f"part-{portion.number:05d}.json"


def read_part(plan: Plan, portion: Portion) -> Part:
    """What was kept of a shard."""
    part = Part(**json.loads(part_file(plan, portion).read_text(encoding="utf-8")))
    return part._replace(rejected=[Rejected(*each) for each in part.rejected])


def _sum_up(plan: Plan, portions: Sequence[Portion], skeleton: Skeleton) -> Found:
    """One file of all parts, of which one at a time is in memory; none where nothing could be read."""
    counts = dict.fromkeys(("images", "people", "people_below_min_score"), 0)
    rejected: list[Rejected] = []
    for portion in portions:
        part = read_part(plan, portion)
        sizes = (len(part.images), len(part.annotations), part.below)
        counts = {name: before + size for (name, before), size in zip(counts.items(), sizes, strict=True)}
        rejected += part.rejected
    if counts["images"]:
        _write_people(plan, portions, skeleton)
        list_rejected(plan.out, rejected)
    return Found(counts, rejected)


def _write_people(plan: Plan, portions: Sequence[Portion], skeleton: Skeleton) -> None:
    """people.json as `json.dumps(..., indent=2)` would have it, without all of it being in memory."""

    def images() -> Iterator[dict[str, Any]]:
        before = 0
        for portion in portions:
            part = read_part(plan, portion)
            for entry in part.images:
                yield entry | {"id": before + entry["id"]}
            before += len(part.images)

    def people() -> Iterator[dict[str, Any]]:
        images_before = before = 0
        for portion in portions:
            part = read_part(plan, portion)
            for entry in part.annotations:
                yield entry | {"id": before + entry["id"], "image_id": images_before + entry["image_id"]}
            images_before, before = images_before + len(part.images), before + len(part.annotations)

    lists = {"images": images(), "annotations": people(), "categories": [category(skeleton)]}
    with atomic_path(plan.out / "people.json") as temporary, temporary.open("w", encoding="utf-8") as file:
        for place, (name, entries) in enumerate(lists.items()):
            file.write(f'{"," if place else "{"}\n  "{name}": ')
            file.writelines(_listed(entries))
        file.write("\n}\n")


def _listed(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The pieces of an indented list."""
    empty = True
    for entry in entries:
        text = textwrap.indent(json.dumps(entry, indent=2, allow_nan=False), "    ")
        yield f"{'[' if empty else ','}\n{text}"
        empty = False
    yield "[]" if empty else "\n  ]"


def too_many(out: Path, rejected: list[Rejected], most: int | None) -> None:
    """End a prediction that leaves out more than it may: list what it left out, and raise `Failed`."""
    if most is None or len(rejected) <= most:
        return
    list_rejected(out, rejected)
    file, _, why = rejected[0]
    raise Failed(
        f"{len(rejected)} files cannot be read, more than predict.max_rejected={most}; "
        f"the first is {file}: {why}. They are listed in {out / REJECTED}"
    )


def list_rejected(out: Path, rejected: list[Rejected]) -> None:
    """One JSON object a line; a list of an earlier run goes where nothing is rejected any more."""
    if rejected or (out / REJECTED).exists():
        write_text(out / REJECTED, "".join(json.dumps(each._asdict()) + "\n" for each in rejected))


def _remove_parts(plan: Plan, portions: Sequence[Portion], out_was_there: bool) -> None:
    for portion in portions:
        part_file(plan, portion).unlink(missing_ok=True)
    if plan.folder.is_dir():
        remove_leftovers(plan.folder)
    for folder in (plan.folder, plan.folder.parent, *(() if out_was_there else (plan.out,))):
        with suppress(OSError):  # something is in it that is not ours to remove
            folder.rmdir()


def _state(path: Path) -> list[int]:
    if in_store(path):
        return []
    try:
        found = path.stat()
    except OSError:  # which reading it will tell
        return []
    return [found.st_size, found.st_mtime_ns]
