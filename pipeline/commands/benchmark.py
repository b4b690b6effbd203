"""How fast this machine preprocesses, reads and trains, each measured alone for a bounded time."""

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from itertools import chain, cycle, islice, repeat
from typing import Any

import torch
from torch import nn

from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.base.provenance import provenance, write_results
from pipeline.base.seeds import view_rng
from pipeline.batches.collate import Batch
from pipeline.batches.loader import training_batches
from pipeline.batches.reader import SampleReader
from pipeline.data.encode import encode_view
from pipeline.data.shards import read_records, stage_folder
from pipeline.settings.config import RunConfig, StageConfig
from pipeline.training.loop import Training, TrainingProgress, train
from pipeline.training.optimiser import make_optimiser

log = logging.getLogger(__name__)

KEPT_BATCHES = 8  # batches that training repeats, so that reading is not measured with it


def run_benchmark(config: RunConfig, seconds: float) -> dict[str, Any]:
    """Measure one part after the other, each for so many seconds; returns what `results.json` holds.

    Raises `UserError` for a time that is none.
    """
    if seconds <= 0:
        raise UserError(f"--seconds {seconds}: must be above 0")
    measures: tuple[Callable[[RunConfig, float], float | None], ...] = (
        views_per_second,
        samples_per_second,
        pretrain_images_per_second,
        joint_images_per_second,
    )
    figures: dict[str, float | None] = {}
    for measure in measures:
        name = measure.__name__
        figures[name] = measure(config, seconds)
        log.info("%s: %s", name, figures[name])
    results = figures | {
        "input_size": config.network.input_size,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "seconds": seconds,
        **provenance(),
    }
    write_results(config.run_root.absolute() / "benchmark", results)
    return results


def views_per_second(config: RunConfig, seconds: float) -> float:
    """Augmented views that one process makes of the training records: decode, warp, heatmaps, encode."""
    folder = stage_folder(config.run_root, "records", config.data.train_split)
    records = chain.from_iterable(read_records(folder) for _ in repeat(None))
    made, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        record = next(records)
        encode_view(record, view_rng(config.data.seed, record["image_id"], 1), 1, config.data, config.network)
        made += 1
    return round(made / (time.perf_counter() - begun), 2)


def samples_per_second(config: RunConfig, seconds: float) -> float:
    """Samples that one rank reads and decodes with `train.loader_workers` threads, once they have begun."""
    stream = training_batches(_reader(config, config.pretrain), config.train.loader_workers)
    next(stream)
    read, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        read += len(next(stream).image_ids)
    return round(read / (time.perf_counter() - begun), 2)


def pretrain_images_per_second(config: RunConfig, seconds: float) -> float:
    """Images of whole steps of the first stage, in this process, on batches that are in memory."""
    return _images_per_second(HGG(config.model), config.pretrain, False, config, seconds)


def joint_images_per_second(config: RunConfig, seconds: float) -> float | None:
    """Images of whole steps of the second stage; None before the first stage is done.

    An untrained network finds candidates everywhere, and a step's time is theirs.
    """
    path = config.run_root / "pretrain" / "best.pt"
    if not path.exists():
        log.info("%s is not there: joint training is measured after jobs/pretrain.py", path)
        return None
    try:
        model = load_model(path, config.model)
    except ValueError as error:
        raise UserError(str(error)) from error
    return _images_per_second(model, config.joint, True, config, seconds)


def _images_per_second(
    model: HGG, stage: StageConfig, joint: bool, config: RunConfig, seconds: float
) -> float:
    batches = cycle(list(islice(_reader(config, stage), KEPT_BATCHES)))
    objective = Objective(model, config.loss, joint)
    objective.to("cuda" if config.train.use_gpu else "cpu")
    training = Training(objective, make_optimiser(model, stage), None, TrainingProgress())
    advance(training, objective, batches, 1, stage, config)  # untimed: allocations, choice of kernels
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        advance(training, objective, batches, 1, stage, config)
        steps += 1
    return round(steps * stage.batch_size / (time.perf_counter() - begun), 2)


def _reader(config: RunConfig, stage: StageConfig) -> SampleReader:
    folder = stage_folder(config.run_root, "samples", config.data.train_split)
    return SampleReader(folder, stage.batch_size, seed=config.train.seed)


def advance(
    training: Training,
    forward: nn.Module,
    batches: Iterator[Batch],
    steps: int,
    stage: StageConfig,
    config: RunConfig,
) -> None:
    """So many more steps of the training loop; the last ends with its log line and so waits for the device.

    Args:
        forward: the objective, or DDP around it.
    """

    def nothing(_: Any) -> None:
        """Neither log lines nor checkpoints."""

    train(
        training,
        forward,
        batches,
        stage.model_copy(update={"steps": training.progress.step + steps}),
        config.train,
        validate=lambda: None,
        report=nothing,
        save=nothing,
    )
