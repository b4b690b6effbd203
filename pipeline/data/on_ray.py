"""Running a stage of preprocessing on Ray Data: one block is one shard, written by the task that makes it."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

import cv2
import pyarrow as pa
import ray
from ray.data import TaskPoolStrategy

from pipeline.base.errors import UserError
from pipeline.base.memory import peak_mib
from pipeline.base.progress import Progress
from pipeline.cluster.start import start_ray
from pipeline.data.rejects import REJECTED, Rejection, check_limit, first_ones, list_rejected
from pipeline.data.remarks import remarks
from pipeline.data.shard_writer import PlannedShard, ShardPlan, set_aside, standing_row
from pipeline.data.shards import MANIFEST, Manifest, ShardRow, write_manifest

TRIES = 4  # of a shard whose process dies, as by a machine's end

log = logging.getLogger(__name__)


def write_shards(plan: ShardPlan, max_rejected: int, workers: int, ray_running: ExitStack) -> dict[str, Any]:
    """Write the shards that are missing or stale, then the manifest.

    Args:
        max_rejected: images left out before it stops with `UserError`.
        workers: tasks at a time; 0 is as many as there are CPUs.
        ray_running: holds Ray, which is started only where there is something to write.

    Returns: counts, what was left out, fingerprint, rate and memory, for results.json.
    """
    for note in plan.before.notes:
        log.info("%s: %s", plan.source, note)
    standing = _standing(plan)
    todo = [planned for planned in plan.shards if planned.shard not in standing]
    rejected = plan.before.rejected + [r for row in standing.values() for r in row.rejected]
    progress = Progress(
        f"{plan.name} {plan.split}", sum(planned.units for planned in todo), plan.unit, every=0
    )
    log.info("%s: %d of %d shards to write", progress.title, len(todo), len(plan.shards))
    peak, passed = 0.0, False
    if todo:
        ray_running.enter_context(start_ray(workers))
        (plan.folder / MANIFEST).unlink(missing_ok=True)  # from here on it would not be true
        progress.begun = time.monotonic()
        units = {planned.shard: planned.units for planned in todo}
        for row, task_peak in fan_out(plan.write, todo, workers):
            standing[row.shard] = row
            peak = max(peak, task_peak)
            progress.add(units[row.shard])
            rejected += row.rejected
            if len(rejected) > max_rejected and not passed:
                passed = True
                log.warning(
                    "%s: %d bad images so far, data.max_rejected=%d; the others are looked at, to count all",
                    *(plan.source, len(rejected), max_rejected),
                )
    _check(plan, rejected, max_rejected)
    manifest = _finish(plan, list(standing.values()), rejected)
    return _results(manifest, todo, progress, peak)


def fan_out(
    write: Callable[[PlannedShard], ShardRow], shards: list[PlannedShard], workers: int
) -> Iterator[tuple[ShardRow, float]]:
    """Write shards on Ray Data; yields each one's row and its task's peak memory in MiB, as they complete.

    Raises `UserError` once the others are written, with the shards that ended `TRIES` processes.
    """
    blocks = [pa.table({"shard": [json.dumps(asdict(planned))]}) for planned in shards]
    done = ray.data.from_arrow(blocks).map_batches(
        partial(_in_task, write=write),
        batch_size=None,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=workers or None),
    )
    deadly = []
    for line in done.iter_rows():
        result = json.loads(line["row"])
        if result["row"] is None:
            deadly.append(result["shard"])
        else:
            yield ShardRow.from_json(result["row"]), result["peak_mib"]
    if deadly:
        raise UserError(
            "; ".join(_named(planned) for planned in shards if planned.shard in deadly)
            + f": {TRIES} processes died while they wrote it: too little memory for its pictures (lower "
            "data.max_pixels or data.max_corners), or a file that breaks a library (data.shard_images=1 "
            "finds it)"
        )


def _in_task(block: pa.Table, write: Callable[[PlannedShard], ShardRow]) -> pa.Table:
    """Runs in a task of Ray: a block of one planned shard in, a block with its row out, or with none."""
    cv2.setNumThreads(1)  # Ray starts one task a CPU
    planned = PlannedShard(**json.loads(block["shard"][0].as_py()))
    # Ray Data begins a task whose process died again for ever, and only Ray's inside knows how often it did.
    core: Any = ray._private.worker.global_worker.core_worker  # pyrefly: ignore[missing-attribute]
    deadly = core.get_current_task_attempt_number() >= TRIES
    row = None if deadly else write(planned).as_json()
    result = {"shard": planned.shard, "row": row, "peak_mib": peak_mib()}
    return pa.table({"row": [json.dumps(result)]})


def _named(planned: PlannedShard) -> str:
    """A shard by its number and its first and last image."""
    images = [image["file_name"] for image in planned.inputs.get("images", [])]
    these = f" ({len(images)} images, {images[0]} to {images[-1]})" if images else ""
    return f"shard {planned.shard}{these}"


def _standing(plan: ShardPlan) -> dict[int, ShardRow]:
    """The shards that need not be written again; several are read at once, as it means reading all bytes."""
    with ThreadPoolExecutor() as pool:
        rows = pool.map(partial(standing_row, plan.folder), plan.shards)
        return {row.shard: row for row in rows if row is not None}


def _check(plan: ShardPlan, rejected: list[Rejection], max_rejected: int) -> None:
    check_limit(rejected, max_rejected, plan.folder / REJECTED, plan.source)


def _finish(plan: ShardPlan, rows: list[ShardRow], rejected: list[Rejection]) -> Manifest:
    """Write what readers look for first, once all shards are there."""
    moved = set_aside(plan.folder, len(plan.shards))
    if moved:
        log.info(
            "%s: %d shards of an earlier run are set aside as %s", plan.folder, len(moved), moved[0].name
        )
    path = plan.folder / REJECTED
    if rejected or path.exists():
        list_rejected(path, rejected)
        log.info(
            "%s: %d images left out, listed in %s; %s",
            *(plan.name, len(rejected), path, first_ones(sorted(rejected))),
        )
    if not any(row.rows for row in rows):
        raise UserError(
            f"{plan.source}: no usable image is left; {first_ones(sorted(rejected))}. {path} says why"
        )
    before = dict(plan.before.counts)
    manifest = write_manifest(
        plan.folder, plan.name, plan.split, plan.settings, rows, before, plan.before.rejected
    )
    for remark in remarks(manifest.counts) if plan.name == "records" else ():
        log.log(logging.WARNING if remark.warns else logging.INFO, "%s: %s", plan.source, remark.text)
    return manifest


def _results(manifest: Manifest, todo: list[PlannedShard], progress: Progress, peak: float) -> dict[str, Any]:
    return {
        "fingerprint": manifest.fingerprint,
        "counts": manifest.counts,
        "rejected": manifest.rejected,
        "shards": len(manifest.shards),
        "shards_written": len(todo),
        f"{progress.unit}_per_second": round(progress.done / progress.seconds, 1) if todo else None,
        "seconds": round(progress.seconds, 2),
        "task_peak_mib": round(peak, 1),
    }
