"""What a worker takes of a Ray cluster, as many of them as it has room for, and where Ray keeps its files."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipeline.base.errors import UserError
from pipeline.base.s3 import SCHEME, file_system, in_store
from pipeline.settings.config import TrainConfig

Item = TypeVar("Item")

log = logging.getLogger(__name__)


def cluster_grows() -> bool:
    """Whether the cluster starts machines for what is asked of it; cluster.yaml sets HGG_AUTOSCALED=1."""
    return os.environ.get("HGG_AUTOSCALED") == "1"


def cpus_needed(options: TrainConfig) -> int:
    """CPUs that a job's workers must have at once; a job that trains in its own process is one worker."""
    return math.ceil(max(1, options.num_workers) * options.cpus_per_worker)


def limit_threads(options: TrainConfig) -> None:
    """Have torch use as many threads in this process as a worker has CPUs."""
    import torch

    torch.set_num_threads(max(1, int(options.cpus_per_worker)))


def worker_resources(options: TrainConfig) -> dict[str, float]:
    """What Ray reserves for a worker of training."""
    return {"CPU": options.cpus_per_worker} | ({"GPU": 1.0} if options.use_gpu else {})


def room_for(options: TrainConfig, setting: str = "train.num_workers") -> int:
    """How many jobs of `num_workers` workers the cluster that Ray is connected to can run at a time.

    Args:
        options: how many workers, and what each needs.
        setting: that says how many, for the message.

    Raises `UserError` where not even one and no machines come for it: Ray would wait without a word. Where
    they come when they are asked for, it says what is waited for.
    """
    import ray

    each = worker_resources(options)
    workers = max(1, options.num_workers)
    there = ray.cluster_resources()
    room = min(int(there.get(name, 0) / (workers * amount)) for name, amount in each.items())
    if room < 1:
        needed = ", ".join(f"{workers * amount:g} {name}s" for name, amount in each.items())
        found = ", ".join(f"{there.get(name, 0):g} {name}s" for name in each)
        if cluster_grows():
            log.info("waiting for machines: %s are asked for, %s are there", needed, found)
            return 1
        raise UserError(
            f"{setting}={options.num_workers}: needs {needed}, the Ray cluster has "
            f"{found}: use fewer workers or a larger cluster"
        )
    return room


def in_tasks(
    work: Callable[..., None],
    items: Sequence[Item],
    options: TrainConfig,
    room: int,
    *arguments: Any,
    seconds: float | None = None,
) -> Iterator[tuple[list[Item], list[Item]]]:
    """Run `work(item, *arguments)` for each item in a task of Ray, as many at once as there is room for.

    Args:
        work: trains, in its process or by Ray Train.
        items: in the order in which they are begun.
        options: what each takes.
        room: how many at once (`room_for`).
        arguments: the same for all.
        seconds: after which it yields although nothing is done; None waits.

    Yields the items that are done now, and those that run. What an item's work raises is raised here.
    """
    import ray

    task = ray.remote(work).options(**task_options(options))
    waiting, running = [*items], {}
    while waiting or running:
        while waiting and len(running) < room:
            item = waiting.pop(0)
            running[task.remote(item, *arguments)] = item
        done, _ = ray.wait([*running], timeout=seconds)
        ray.get(done)
        yield [running.pop(reference) for reference in done], [*running.values()]


def task_options(options: TrainConfig) -> dict[str, float]:
    """Options of a Ray task that trains; where Ray Train brings the workers, the task only waits for them."""
    alone = options.num_workers == 0
    return {
        "num_cpus": options.cpus_per_worker if alone else 0,
        "num_gpus": 1 if alone and options.use_gpu else 0,
        "max_retries": 0,
    }


def ray_storage(folder: Path) -> dict[str, Any]:
    """A folder as Ray's `RunConfig`s take it."""
    if in_store(folder):
        return {"storage_path": str(folder).removeprefix(SCHEME), "storage_filesystem": file_system()}
    return {"storage_path": str(folder)}
