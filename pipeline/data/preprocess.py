"""Both stages of preprocessing for both splits: COCO's files to records to samples."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.memory import peak_mib
from pipeline.base.s3 import in_store
from pipeline.data.formats import annotation_file, check_layout
from pipeline.data.records import plan_records
from pipeline.data.samples import plan_samples
from pipeline.data.shard_writer import ShardPlan
from pipeline.settings.config import RunConfig

log = logging.getLogger(__name__)


def preprocess(config: RunConfig) -> dict[str, Any]:
    """Write what is missing or stale of records and samples of the training and the validation split.

    All annotation files are read before anything is written, so that a wrong one leaves nothing behind.

    Raises `UserError` for bad input, and where more than `data.max_rejected` images are bad.
    """
    data, begun = config.data, time.monotonic()
    splits = list(dict.fromkeys([data.train_split, data.val_split]))
    for split in splits:
        check_layout(data, split)
    files = [annotation_file(data, split) for split in splits]
    one = len(files) == 1 or _same(*files)
    if data.val_share and (not one or len(splits) == 1):
        raise UserError(
            f"data.val_share={data.val_share:g} divides one annotation file into data.train_split and "
            f"data.val_split, which must be two names; here are {', '.join(splits)} of "
            f"{', '.join(map(str, files))}: name one file, without {{split}}, as data.annotations"
        )
    if one and len(splits) == 2 and not data.val_share:
        log.warning(
            "data.train_split=%s and data.val_split=%s are one file, %s: what is validated on is trained on",
            *(*splits, files[0]),
        )
    records = [plan_records(config, split) for split in splits]
    results: dict[str, Any] = {split: {} for split in splits}
    with ExitStack() as ray_running:
        for plan in records:
            results[plan.split]["records"] = _run(plan, config, ray_running)
        for split in splits:
            results[split]["samples"] = _run(plan_samples(config, split), config, ray_running)
    return {
        "splits": results,
        "seconds": round(time.monotonic() - begun, 1),
        "driver_peak_mib": round(peak_mib(), 1),
    }


def _same(first: Path, second: Path) -> bool:
    """Whether two paths are one file; links are known on disks alone."""
    return first == second or (not in_store(first) and first.samefile(second))


def _run(plan: ShardPlan, config: RunConfig, ray_running: ExitStack) -> dict[str, Any]:
    # Imported here so that planning needs no Ray.
    from pipeline.data.on_ray import write_shards

    return write_shards(plan, config.data.max_rejected, config.data.workers, ray_running)
