"""How fast this machine preprocesses, reads and trains, each measured alone for a bounded time."""

import time
from collections.abc import Iterator
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from typing import Any

import torch

from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_model
from pipeline.batches import Batch, SampleReader, training_batches
from pipeline.config import RunConfig, StageConfig
from pipeline.encode import encode_view, view_rng
from pipeline.loop import Progress, Training, train
from pipeline.optimiser import make_optimiser
from pipeline.shards import read_records, stage_folder

WARM_UP = 2  # steps before the clock starts: allocations, choice of kernels
KEPT_BATCHES = 8  # batches that training repeats, so that reading is not measured with it


def views_per_second(config: RunConfig, seconds: float) -> float:
    """Augmented views that one process makes of the training records: decode, warp, heatmaps, encode."""
    folder = stage_folder(config.run_root, "records", config.data.train_split)
    records = chain.from_iterable(read_records(folder) for _ in repeat(None))
    made, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        record = next(records)
        encode_view(record, view_rng(config.data.seed, record["image_id"], 1), 1, config.data, config.network)
        made += 1
    return made / (time.perf_counter() - begun)


def samples_per_second(config: RunConfig, seconds: float) -> float:
    """Samples that one rank reads and decodes, with `train.loader_workers`; starting them is not counted."""
    stream = training_batches(_reader(config, config.pretrain), config.train.loader_workers)
    next(stream)
    read, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        read += len(next(stream).image_ids)
    return read / (time.perf_counter() - begun)


def images_per_second(config: RunConfig, joint: bool, seconds: float) -> float:
    """Images of whole training steps of a stage, in this process, on batches that are in memory."""
    stage = config.joint if joint else config.pretrain
    batches = cycle(list(islice(_reader(config, stage), KEPT_BATCHES)))
    model = load_model(pretrained(config), config.model) if pretrained(config).exists() else HGG(config.model)
    objective = Objective(model, config.loss, joint)
    objective.to("cuda" if config.train.use_gpu else "cpu")
    training = Training(objective, make_optimiser(model, stage), None, Progress())
    _run(training, batches, WARM_UP, stage, config)
    step = _run(training, batches, 1, stage, config)
    steps = max(1, round(seconds / step))
    return steps * stage.batch_size / _run(training, batches, steps, stage, config)


def pretrained(config: RunConfig) -> Path:
    """The pretrained model, whose candidates make joint steps cost what they cost; untrained ones do not."""
    return config.run_root / "pretrain" / "best.pt"


def _reader(config: RunConfig, stage: StageConfig) -> SampleReader:
    folder = stage_folder(config.run_root, "samples", config.data.train_split)
    return SampleReader(folder, stage.batch_size, seed=config.train.seed)


def _run(
    training: Training, batches: Iterator[Batch], steps: int, stage: StageConfig, config: RunConfig
) -> float:
    """Seconds that so many more steps of the training loop take."""

    def nothing(_: Any) -> None:
        """Neither log lines nor checkpoints."""

    last = training.progress.step + steps
    rarely = {"steps": last, "log_every": last, "validate_every": last, "checkpoint_every": last}
    begun = time.perf_counter()
    train(
        training,
        training.objective,
        batches,
        stage.model_copy(update=rarely),
        config.train,
        validate=lambda: None,
        report=nothing,
        save=nothing,
    )
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
