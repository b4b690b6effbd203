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

from pipeline.cluster import start_ray
from pipeline.errors import UserError
from pipeline.memory import peak_mib
from pipeline.progress import Progress
from pipeline.rejects import REJECTED, Rejection, check_limit, list_rejected
from pipeline.shard_writer import Stage, Task, set_aside, standing_row
from pipeline.shards import MANIFEST, Manifest, ShardRow, write_manifest

log = logging.getLogger(__name__)


def run_stage(stage: Stage, max_rejected: int, workers: int, ray_running: ExitStack) -> dict[str, Any]:
    """Write the shards that are missing or stale, then the manifest.

    Args:
        max_rejected: images left out before it stops with `UserError`.
        workers: tasks at a time; 0 is as many as there are CPUs.
        ray_running: holds Ray, which is started only where there is something to write.

    Returns: counts, what was left out, fingerprint, rate and memory, for results.json.
    """
    standing = _standing(stage)
    todo = [task for task in stage.tasks if task.shard not in standing]
    rejected = stage.before.rejected + [r for row in standing.values() for r in row.rejected]
    _check(stage, rejected, max_rejected)
    progress = Progress(f"{stage.name} {stage.split}", sum(task.units for task in todo), stage.unit, every=0)
    log.info("%s: %d of %d shards to write", progress.title, len(todo), len(stage.tasks))
    peak = 0.0
    if todo:
        ray_running.enter_context(start_ray(workers))
        (stage.folder / MANIFEST).unlink(missing_ok=True)  # from here on it would not be true
        progress.begun = time.monotonic()
        units = {task.shard: task.units for task in todo}
        for row, task_peak in fan_out(stage.write, todo, workers):
            standing[row.shard] = row
            peak = max(peak, task_peak)
            progress.add(units[row.shard])
            rejected += row.rejected
            _check(stage, rejected, max_rejected)
    manifest = _finish(stage, list(standing.values()), rejected)
    return _results(manifest, todo, progress, peak)


def fan_out(
    write: Callable[[Task], ShardRow], tasks: list[Task], workers: int
) -> Iterator[tuple[ShardRow, float]]:
    """Write shards on Ray Data; yields each one's row and its task's peak memory in MiB, as they complete."""
    blocks = [pa.table({"task": [json.dumps(asdict(task))]}) for task in tasks]
    done = ray.data.from_arrow(blocks).map_batches(
        partial(_in_task, write=write),
        batch_size=None,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=workers or None),
    )
    for line in done.iter_rows():
        result = json.loads(line["row"])
        yield ShardRow.from_json(result["row"]), result["peak_mib"]


def _in_task(block: pa.Table, write: Callable[[Task], ShardRow]) -> pa.Table:
    """Runs in a task of Ray: a block of one task in, a block with its row out."""
    cv2.setNumThreads(1)  # Ray starts one task a CPU
    row = write(Task(**json.loads(block["task"][0].as_py())))
    return pa.table({"row": [json.dumps({"row": row.as_json(), "peak_mib": peak_mib()})]})


def _standing(stage: Stage) -> dict[int, ShardRow]:
    """The shards that need not be written again; several are read at once, as it means reading all bytes."""
    with ThreadPoolExecutor() as pool:
        rows = pool.map(partial(standing_row, stage.folder), stage.tasks)
        return {row.shard: row for row in rows if row is not None}


def _check(stage: Stage, rejected: list[Rejection], max_rejected: int) -> None:
    check_limit(rejected, max_rejected, stage.folder / REJECTED, stage.source)


def _finish(stage: Stage, rows: list[ShardRow], rejected: list[Rejection]) -> Manifest:
    """Write what readers look for first, once all shards are there."""
    moved = set_aside(stage.folder, len(stage.tasks))
    if moved:
        log.info(
            "%s: %d shards of an earlier run are set aside as %s", stage.folder, len(moved), moved[0].name
        )
    path = stage.folder / REJECTED
    if rejected or path.exists():
        list_rejected(path, rejected)
        log.info("%s: %d images left out, listed in %s", stage.name, len(rejected), path)
    if not any(row.rows for row in rows):
        raise UserError(f"{stage.source}: no usable image is left; {path} says why")
    before = dict(stage.before.counts)
    return write_manifest(
        stage.folder, stage.name, stage.split, stage.settings, rows, before, stage.before.rejected
    )


def _results(manifest: Manifest, todo: list[Task], progress: Progress, peak: float) -> dict[str, Any]:
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
