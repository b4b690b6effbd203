"""Stage 2: records to samples, one row for each view of each image with people."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hgg.config import NetworkConfig
from hgg.pictures import decode_picture
from hgg.settings import Decides
from pipeline.base.progress import chunks
from pipeline.base.s3 import as_path
from pipeline.base.seeds import view_rng
from pipeline.data.encode import encode_view
from pipeline.data.rows import SAMPLE_SCHEMA, read_rows, with_metadata
from pipeline.data.shard_writer import PlannedShard, ShardPlan, Tally, write_shard
from pipeline.data.shards import ShardRow, records_manifest, stage_folder
from pipeline.settings.config import RunConfig
from pipeline.settings.data import DataConfig
from pipeline.settings.fingerprint import described, fingerprint

VERSION = 1  # raised whenever the same records give other samples, so that standing shards are written again


def plan_samples(config: RunConfig, split: str) -> ShardPlan:
    """One shard of samples for each shard of records, `data.views` augmented views if it is trained on.

    Raises `UserError` where the records are not finished.
    """
    data = config.data
    source = stage_folder(config.run_root, "records", split)
    views = 1 + (data.views if split == data.train_split else 0)
    settings = {
        "version": VERSION,
        **described(config.network, Decides.SAMPLES),
        "output_size": config.network.output_size,
        "joints": config.joints.count,
        "views": views,
    } | described(data.model_copy(update={"views": views}), Decides.SAMPLES)
    shards = [
        PlannedShard(
            shard=row["shard"],
            made_from=fingerprint({"records": row["sha256"], "settings": settings}),
            units=row["rows"] * views,
            inputs={"records": str(source / row["file"])},
        )
        for row in records_manifest(source).shards
    ]
    folder = stage_folder(config.run_root, "samples", split)
    write = partial(write_samples, folder=folder, settings=settings, data=data, network=config.network)
    return ShardPlan(
        name="samples",
        split=split,
        unit="views",
        source=source,
        folder=folder,
        settings=settings,
        shards=shards,
        write=write,
        before=Tally(),
    )


def write_samples(
    planned: PlannedShard, *, folder: Path, settings: dict[str, Any], data: DataConfig, network: NetworkConfig
) -> ShardRow:
    """Write the samples of one shard of records."""
    facts = {"stage": "samples", "fingerprint": fingerprint(settings)} | settings
    tally = Tally()
    groups = _row_groups(as_path(Path(planned.inputs["records"])), settings["views"], data, network, tally)
    return write_shard(folder, planned, with_metadata(SAMPLE_SCHEMA, facts), groups, tally, checksums=True)


def _row_groups(
    records: Path, views: int, data: DataConfig, network: NetworkConfig, tally: Tally
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each row group: every image of a chunk once, in a view that differs from group to group.

    So the views of an image, which look alike, lie in different row groups, and no row group holds
    un-augmented views alone.
    """
    labelled = (record for record in read_rows([records], data.row_group) if record["people"])
    for chunk in chunks(labelled, data.row_group):
        tally.counts["images"] += len(chunk)
        tally.counts["people"] += sum(len(record["people"]) for record in chunk)
        encoded = [_views(record, views, data, network) for record in chunk]
        for group in range(views):
            yield [rows[(index + group) % views] for index, rows in enumerate(encoded)]


def _views(
    record: dict[str, Any], views: int, data: DataConfig, network: NetworkConfig
) -> list[dict[str, Any]]:
    """All views of a record; its picture is decoded once."""
    picture = decode_picture(record["jpeg"])
    return [
        encode_view(record, view_rng(data.seed, record["image_id"], view), view, data, network, picture)
        for view in range(views)
    ]
