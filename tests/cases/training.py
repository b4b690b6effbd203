"""A model, batches and data small enough to train in tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hgg.config import GroupingConfig, LossConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.objective import Objective
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets
from pipeline.batches.reader import Batch
from pipeline.settings.config import RunConfig, StageConfig, TrainConfig
from pipeline.training.checkpoint import FolderCheckpoints
from pipeline.training.loop import Row, Training, TrainingProgress, train
from pipeline.training.optimiser import MovingAverage, make_optimiser
from pipeline.training.stage import StageRun, claim_folder
from pipeline.training.worker import run_worker
from tests.cases.evaluation import make_records, write_coco
from tests.cases.samples import write_samples

INPUT, CELLS, PEOPLE = 32, 8, 2
MODEL = ModelConfig(
    network=NetworkConfig(
        input_size=INPUT, stacks=1, channels=32, increase=0, depth=1, norm="group", visual_dim=4
    ),
    grouping=GroupingConfig(hidden=8, layers=1, dropout=0.2),
)
LOSS = LossConfig(push=0.1, pull=0.05, edge=0.01, macro=0.01)
STAGE = StageConfig(
    steps=6,
    batch_size=4,
    lr=1e-3,
    warmup_steps=2,
    drop_at=1.0,
    teacher_steps=4,
    log_every=2,
    validate_every=100,
    checkpoint_every=3,
)
OPTIONS = TrainConfig(num_workers=0, ema=0.9, seed=3)


def make_training(model: ModelConfig = MODEL, *, joint: bool = True, ema: float = 0.9) -> Training:
    """An untrained state, the same one every time."""
    torch.manual_seed(0)
    built = HGG(model)
    built.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]
    objective = Objective(built, LOSS, joint)
    average = MovingAverage(built, ema) if ema else None
    return Training(objective, make_optimiser(built, STAGE), average, TrainingProgress())


def batches(start_step: int = 0, size: int = 4) -> Iterator[Batch]:
    """Batches that are a function of their number."""
    step = start_step
    while True:
        generator = torch.Generator().manual_seed(step)
        images = torch.randint(0, 256, (size, 3, INPUT, INPUT), generator=generator, dtype=torch.uint8)
        heatmaps = torch.randint(
            0, 256, (size, NUM_JOINTS, CELLS, CELLS), generator=generator, dtype=torch.uint8
        )
        joints = torch.rand(size, PEOPLE, NUM_JOINTS, 3, generator=generator) * (CELLS - 1)
        joints[..., 2] = 1
        targets = Targets(
            heatmaps,
            torch.ones(size, CELLS, CELLS, dtype=torch.uint8),
            joints,
            torch.full((size, PEOPLE), 200.0),
        )
        first = step * size
        ids = torch.arange(first, first + size)
        yield Batch(images, targets, ids, ids * 7919)
        step += 1


def part_of(stream: Iterator[Batch], rank: int, world: int) -> Iterator[Batch]:
    """A rank's part of each batch."""
    for batch in stream:
        own = slice(rank * len(batch.image_ids) // world, (rank + 1) * len(batch.image_ids) // world)
        targets = Targets(*(part[own] for part in batch.targets))
        yield Batch(batch.images[own], targets, batch.image_ids[own], batch.keys[own])


def run(
    training: Training,
    stream: Iterator[Batch],
    *,
    stage: StageConfig = STAGE,
    options: TrainConfig = OPTIONS,
    forward: nn.Module | None = None,
    scores: Row | None = None,
) -> tuple[list[Row], list[tuple[int, float | None]]]:
    """Train; returns the rows reported, and the steps and APs that were saved."""
    rows: list[Row] = []
    saved: list[tuple[int, float | None]] = []
    train(
        training,
        forward or training.objective,
        stream,
        stage,
        options,
        validate=lambda: scores,
        report=rows.append,
        save=lambda ap: saved.append((training.progress.step, ap)),
    )
    return rows, saved


def start(planned: StageRun, kind: type[FolderCheckpoints] = FolderCheckpoints) -> dict[str, Any]:
    """Train a stage in this process, from its latest checkpoint where there is one; its figures."""
    claim_folder(planned)
    return run_worker(
        planned, kind(planned.folder / "checkpoints" / planned.name, keep=2), torch.device("cpu")
    )


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether all weights and statistics are equal to the last bit."""
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def tiny_run(root: Path, **train_options: Any) -> RunConfig:
    """Settings of a run whose samples and validation records are there, made without Ray."""
    config = RunConfig.model_validate(
        {
            "run_root": root / "run",
            "data": {"root": root / "data"},
            "network": MODEL.network.model_dump(),
            "grouping": MODEL.grouping.model_dump(),
            "loss": LOSS.model_dump(),
            "train": {"num_workers": 0, "validation_images": 2, "seed": 3} | train_options,
            "pretrain": STAGE.model_dump() | {"validate_every": 4},
            "joint": STAGE.model_dump() | {"validate_every": 4},
        }
    )
    if not (root / "data").exists():
        write_coco(root / "data", config.data.val_split, [[(20.0, 30.0)], [(100.0, 40.0), (120.0, 50.0)]])
        make_records(config, config.data.val_split)
        write_samples(config.run_root / "samples" / config.data.train_split, [10, 14])
    return config
