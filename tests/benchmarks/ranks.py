"""Joint training steps by one or two DDP ranks of this machine, one thread each, with no Ray around them."""

import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from hgg.objective import Objective
from hgg.weights import load_model
from pipeline.base.memory import keep_freed_memory
from pipeline.batches.reader import SampleReader
from pipeline.commands.benchmark import KEPT_BATCHES, advance
from pipeline.data.shards import stage_folder
from pipeline.settings.config import RunConfig
from pipeline.training.loop import Training, TrainingProgress
from pipeline.training.optimiser import make_optimiser
from pipeline.training.worker import distributed

WARM_UP, STEPS = 2, 12
BOUND_SECONDS = 300


def images_per_second(config: RunConfig, pretrained: Path, ranks: int, folder: Path) -> float:
    """Images of all ranks together; each has `joint.batch_size` of its own a step.

    Args:
        folder: empty; the ranks find each other by a file in it.
    """
    context = multiprocessing.get_context("spawn")
    seconds = context.Queue()
    processes = [
        context.Process(target=_rank, args=(rank, ranks, config, pretrained, folder / "store", seconds))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        slowest = max(seconds.get(timeout=BOUND_SECONDS) for _ in processes)
        for process in processes:
            process.join(BOUND_SECONDS)
    finally:
        for process in processes:
            process.kill()
    return ranks * STEPS * config.joint.batch_size / slowest


def _rank(rank: int, ranks: int, config: RunConfig, pretrained: Path, store: Path, seconds: Any) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    stage = config.joint
    folder = stage_folder(config.run_root, "samples", config.data.train_split)
    reader = SampleReader(folder, stage.batch_size, rank, ranks, config.train.seed)
    batches = cycle(list(islice(reader, KEPT_BATCHES)))
    model = load_model(pretrained, config.model)
    model.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
    objective = Objective(model, config.loss, joint=True)
    training = Training(objective, make_optimiser(model, stage), None, TrainingProgress())
    forward = distributed(objective, torch.device("cpu"))
    advance(training, forward, batches, WARM_UP, stage, config)
    begun = time.perf_counter()
    advance(training, forward, batches, STEPS, stage, config)
    seconds.put(time.perf_counter() - begun)
    dist.destroy_process_group()
