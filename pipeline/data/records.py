"""Stage 1: COCO's annotations and pictures to records, one row an image, the JPEG's bytes untouched."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.progress import chunks
from pipeline.base.s3 import sizes_below
from pipeline.data.annotations import people_and_ignored
from pipeline.data.coco_file import CocoImage, read_coco
from pipeline.data.formats import annotation_file, image_folder
from pipeline.data.pictures import decode_picture
from pipeline.data.rejects import BadData, Rejection
from pipeline.data.rows import RECORD_SCHEMA, with_metadata
from pipeline.data.shard_writer import PlannedShard, ShardPlan, Tally, write_shard
from pipeline.data.shards import ShardRow, stage_folder
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.formats import COCO_DIALECT, FORMATS, Dialect

VERSION = 1  # raised whenever the same inputs give other records, so that standing shards are written again


def plan_records(config: RunConfig, split: str) -> ShardPlan:
    """Read the annotation file and divide its images into shards; no picture is opened yet.

    The validation split keeps images without people, as evaluation needs every image; of a split that is
    trained on alone they are only counted, as `images_without_people`.

    Raises `UserError` where the file is not COCO's, or no labelled person is in it.
    """
    data = config.data
    dialect = FORMATS[data.format].labelling.dialect
    source, pictures = annotation_file(data, split), image_folder(data, split)
    coco = read_coco(source, dialect.joints)
    kept = [image for image in coco.images if image.has_person or split == data.val_split]
    if not any(image.has_person for image in kept):
        raise UserError(f"{source}: no usable image has a person with labelled joints")
    before = Tally(rejected=list(coco.rejected))
    before.counts["images_without_people"] = sum(not image.has_person for image in coco.images)
    settings: dict[str, Any] = {"version": VERSION, "row_group": data.row_group}
    if dialect != COCO_DIALECT:  # COCO's records keep the names that they had before there were others
        settings["dialect"] = dialect._asdict()
    shards = [
        _planned(shard, list(_with_bytes(images, pictures, before)), settings)
        for shard, images in enumerate(chunks(kept, data.shard_images))
    ]
    folder = stage_folder(config.run_root, "records", split)
    write = partial(write_records, folder=folder, pictures=pictures, settings=settings, dialect=dialect)
    return ShardPlan(
        name="records",
        split=split,
        unit="images",
        source=source,
        folder=folder,
        settings=settings,
        shards=shards,
        write=write,
        before=before,
    )


def write_records(
    planned: PlannedShard, *, folder: Path, pictures: Path, settings: dict[str, Any], dialect: Dialect
) -> ShardRow:
    """Write the records of one shard; images with bad data are left out of it and named in its row."""
    schema = with_metadata(RECORD_SCHEMA, {"stage": "records"} | settings)
    tally = Tally()
    rows = _records(planned.inputs["images"], pictures, tally, dialect)
    return write_shard(folder, planned, schema, chunks(rows, settings["row_group"]), tally)


def to_record(image: dict[str, Any], pictures: Path, dialect: Dialect = COCO_DIALECT) -> dict[str, Any]:
    """One row of `rows.RECORD_SCHEMA`; raises `BadData` where picture or annotations are bad."""
    size = image["width"], image["height"]
    people, ignore = people_and_ignored(image["annotations"], *size, dialect)
    try:
        jpeg = (pictures / image["file_name"]).read_bytes()
    except OSError as error:
        raise BadData("unreadable_file", str(error)) from None
    height, width = decode_picture(jpeg).shape[:2]
    if (width, height) != size:
        raise BadData("wrong_size", f"{width} x {height}, but the annotation file says {size[0]} x {size[1]}")
    kept = {name: image[name] for name in ("image_id", "file_name", "width", "height")}
    return kept | {"jpeg": jpeg, "people": people, "ignore": ignore}


def _records(
    images: list[dict[str, Any]], pictures: Path, tally: Tally, dialect: Dialect
) -> Iterator[dict[str, Any]]:
    for image in images:
        try:
            record = to_record(image, pictures, dialect)
        except BadData as error:
            where = image["image_id"], image["file_name"]
            tally.rejected.append(Rejection(*where, error.reason, error.detail))
            continue
        tally.counts["people"] += len(record["people"])
        yield record


def _with_bytes(images: Iterable[CocoImage], pictures: Path, before: Tally) -> Iterator[dict[str, Any]]:
    """The images whose file is there, with its size in bytes: a picture of another size is another input."""
    size_of = sizes_below(pictures)
    for image in images:
        path = pictures / image.file_name
        size = size_of(path)
        if size is None:
            before.rejected.append(Rejection(*image[:2], "missing_file", f"{path} does not exist"))
            continue
        values = image._asdict()
        del values["has_person"]
        yield values | {"bytes": size}


def _planned(shard: int, images: list[dict[str, Any]], settings: dict[str, Any]) -> PlannedShard:
    digest = hashlib.sha256()
    for image in images:
        digest.update(json.dumps(image, sort_keys=True).encode())
    made_from = fingerprint({"images": digest.hexdigest(), "settings": settings})
    return PlannedShard(shard, made_from, len(images), {"images": images})
