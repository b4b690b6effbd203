"""Stage 1: COCO's annotations and pictures to records, one row an image, the JPEG's bytes untouched.

Beside each shard lies the truth that AP is computed from (`pipeline.data.truth`), of the same people.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hgg.pictures import BadPicture
from pipeline.base.errors import UserError
from pipeline.base.progress import chunks
from pipeline.base.s3 import sizes_below
from pipeline.data.annotations import Labelled, people_and_ignored
from pipeline.data.coco_file import CocoImage, read_coco
from pipeline.data.division import divided
from pipeline.data.formats import annotation_file, dialect_of, image_folder
from pipeline.data.orientation import as_annotated
from pipeline.data.rejects import BadData, Rejection, first_ones
from pipeline.data.rows import RECORD_SCHEMA, with_metadata
from pipeline.data.shard_writer import PlannedShard, ShardPlan, Tally, write_shard
from pipeline.data.shards import ShardRow, stage_folder
from pipeline.data.truth import VERSION as TRUTH_VERSION
from pipeline.data.truth import Truth, write_truth
from pipeline.settings.config import RunConfig
from pipeline.settings.data import DataConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.formats import COCO_DIALECT, Dialect

VERSION = 1  # raised whenever the same inputs give other records, so that standing shards are written again


def plan_records(config: RunConfig, split: str) -> ShardPlan:
    """Read the annotation file and divide its images into shards; no picture is opened yet.

    The validation split keeps images without people, as evaluation needs every image; of a split that is
    trained on alone they are only counted, as `images_without_people`.

    Raises `UserError` where the file is not COCO's, or no labelled person is in it.
    """
    data = config.data
    dialect = dialect_of(config.joints)
    source, pictures = annotation_file(data, split), image_folder(data, split)
    whole = read_coco(source, config.joints, [str(choice) for choice in data.categories])
    coco = divided(whole, data, split)
    kept = [image for image in coco.images if image.has_person or split == data.val_split]
    if not any(image.has_person for image in kept):
        why = f"; {first_ones(coco.rejected)}" if coco.rejected else ""
        raise UserError(f"{source}: no usable image has a person with labelled joints{why}")
    before = Tally(rejected=list(coco.rejected), notes=list(coco.notes))
    before.counts["images_without_people"] = sum(not image.has_person for image in coco.images)
    settings: dict[str, Any] = {"version": VERSION, "row_group": data.row_group}
    if dialect != COCO_DIALECT:  # COCO's records keep the names that they had before there were others
        settings["dialect"] = dialect._asdict()
    if not isinstance(config.model.skeleton, str):
        settings["names"] = list(config.joints.names)
    shards = [
        _planned(shard, list(_with_bytes(images, pictures, before)), settings, data)
        for shard, images in enumerate(chunks(kept, data.shard_images))
    ]
    folder = stage_folder(config.run_root, "records", split)
    write = partial(
        write_records, folder=folder, pictures=pictures, settings=settings, dialect=dialect, data=data
    )
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
    planned: PlannedShard,
    *,
    folder: Path,
    pictures: Path,
    settings: dict[str, Any],
    dialect: Dialect,
    data: DataConfig,
) -> ShardRow:
    """Write the records of one shard, then their truth; its row names the images that are in neither."""
    schema = with_metadata(RECORD_SCHEMA, {"stage": "records"} | settings)
    tally, truth = Tally(), Truth()

    def rows() -> Iterator[dict[str, Any]]:
        for image in planned.inputs["images"]:
            try:
                record, labelled = to_record(image, pictures, dialect, data, tally.counts)
            except (BadData, BadPicture) as error:
                where = image["image_id"], image["file_name"]
                tally.rejected.append(Rejection(*where, error.reason, error.detail))
                continue
            truth.add(record, image.get("truth", {}), labelled.truth)
            tally.counts.update(+labelled.counts)
            tally.counts["people"] += len(labelled.people)
            yield record

    row = write_shard(folder, planned, schema, chunks(rows(), settings["row_group"]), tally)
    write_truth(folder, planned.shard, planned.truth, truth)  # last: the shard does not stand without
    return row


def to_record(
    image: dict[str, Any],
    pictures: Path,
    dialect: Dialect = COCO_DIALECT,
    data: DataConfig | None = None,
    counts: Counter[str] | None = None,
) -> tuple[dict[str, Any], Labelled]:
    """One row of `rows.RECORD_SCHEMA`, and its people; raises `BadData` or `BadPicture` where they are bad.

    Args:
        image: of a planned shard.
        pictures: their folder.
        dialect: the data set's.
        data: the settings, for what is believed of sizes and of orientation tags.
        counts: where pictures are counted whose tag was followed, or might have been.
    """
    data, counts = data or DataConfig(), Counter() if counts is None else counts
    try:
        file = (pictures / image["file_name"]).read_bytes()
    except OSError as error:
        raise BadData("unreadable_file", str(error)) from None
    jpeg, width, height = as_annotated(file, image["width"], image["height"], data, counts)
    labelled = people_and_ignored(image["annotations"], width, height, dialect, data)
    record = {
        "image_id": image["image_id"],
        "file_name": image["file_name"],
        "width": width,
        "height": height,
        "jpeg": jpeg,
        "people": labelled.people,
        "ignore": labelled.ignore,
    }
    return record, labelled


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
        if not values["truth"]:
            del values["truth"]
        yield values | {"bytes": size}


def _planned(
    shard: int, images: list[dict[str, Any]], settings: dict[str, Any], data: DataConfig
) -> PlannedShard:
    records, truth = hashlib.sha256(), hashlib.sha256()
    for image in images:
        for digest, left_out in ((records, {"truth"}), (truth, set())):
            seen = {name: value for name, value in image.items() if name not in left_out}
            digest.update(json.dumps(seen, sort_keys=True).encode())
    believed = data.model_dump(include={"orientation", "max_pixels", "max_people", "max_corners"})
    same = {"settings": settings, "believed": believed, "version": TRUTH_VERSION}
    return PlannedShard(
        shard,
        made_from=fingerprint({"images": records.hexdigest(), "settings": settings}),
        units=len(images),
        inputs={"images": images},
        truth=fingerprint({"images": truth.hexdigest(), **same}),
    )
