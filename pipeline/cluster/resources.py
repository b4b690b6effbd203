"""What a worker takes of a Ray cluster, how many it has room for, and where Ray keeps its files."""

import logging
import os
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.s3 import SCHEME, file_system, in_store
from pipeline.settings.config import TrainConfig

log = logging.getLogger(__name__)


def cluster_grows() -> bool:
    """Whether the cluster starts machines for what is asked of it; cluster.yaml sets HGG_AUTOSCALED=1."""
    return os.environ.get("HGG_AUTOSCALED") == "1"


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
