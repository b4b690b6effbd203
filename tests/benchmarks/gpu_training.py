"""Training on a GPU: steps of both stages by themselves, and in the loop that the jobs run."""

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from hgg.candidates import find_candidates
from hgg.config import LossConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.objective import Objective
from pipeline.batches.collate import Batch
from pipeline.batches.loader import training_batches
from pipeline.batches.reader import SampleReader
from pipeline.settings.config import StageConfig, TrainConfig
from pipeline.training.compiling import compile_network
from pipeline.training.loop import Row as LogRow
from pipeline.training.loop import Training, TrainingProgress, train
from pipeline.training.optimiser import MovingAverage, make_optimiser
from tests.benchmarks.gpu_device import Row, Sizes, device, milliseconds, peak_memory, peak_share, waits
from tests.benchmarks.gpu_samples import draw_samples

GIGA_MACS = 223.6  # of the paper's network at 512 x 512, one image forward (tests/benchmarks/scale.py counts)
FORWARD_AND_BACKWARD = 3
KEPT_BATCHES = 4
LEAST_LOOP = 8  # steps
LOSS = LossConfig(heatmap_foreground_weight=30.0, push=0.25, pull=0.1, edge=0.1, macro=0.02)


class Case(NamedTuple):
    """A kind of training."""

    stage: Literal["pretrain", "joint"]
    bf16: bool = True
    compile: bool = False
    small: bool = False
    """Whether it is that of `Sizes.small_network`, not the paper's."""
    ema: float = 0.0

    @property
    def what(self) -> dict[str, Any]:
        """In the words of its line."""
        values = self._asdict()
        return values | {"network": "small" if values.pop("small") else "the paper's"}


def training_rows(folder: Path, sizes: Sizes) -> list[Row]:
    """Steps and loops of both stages: as conf/coco.yaml has them, then without torch.compile, and others."""
    cases = {
        Case("pretrain", compile=True): 90,
        Case("joint", compile=True): 90,
        Case("pretrain"): 30,
        Case("joint"): 30,
        Case("pretrain", small=True): 30,
        Case("pretrain", bf16=False): 35,
        Case("pretrain", ema=0.999): 30,
    }
    return [
        Row(case.what, seconds, partial(_training, case, folder, sizes)) for case, seconds in cases.items()
    ]


def precision_rows(folder: Path, sizes: Sizes) -> list[Row]:
    """One row: the loss of the same joint steps in both precisions."""
    return [Row({"steps": sizes.precision_steps}, 70, partial(_precision, folder, sizes))]


def _training(case: Case, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Steps on batches that are on the device, then the loop fed by the reader, with the same training."""
    network = sizes.small_network if case.small else sizes.network
    batch = sizes.small_batch if case.small else sizes.batch
    reader = SampleReader(_samples(folder, network, sizes), batch)
    stage, options = _settings(case, batch)
    training = _untrained(case, network, sizes, stage)
    kept = cycle([each.moved(device()) for each in islice(reader, KEPT_BATCHES)])
    step = partial(_advance, training, kept, 1, stage, options)
    with peak_memory() as memory:
        taken = milliseconds(step, sizes.steps)
    loop = _loop(training, reader, sizes, taken, stage, options)
    rate = 1000 * batch / taken
    return {
        "batch": batch,
        "step_ms": taken,
        "images_per_second": round(rate, 1),
        "share_of_bf16_peak": None if case.small else peak_share(rate * GIGA_MACS * FORWARD_AND_BACKWARD),
        "waits_a_step": waits(step),
        **({"candidates": _candidates(training.model, next(kept))} if case.stage == "joint" else {}),
        **memory,
        **loop,
    }


def _samples(folder: Path, network: NetworkConfig, sizes: Sizes) -> Path:
    """Samples of the network's size, drawn where they have not been."""
    size = network.input_size
    return draw_samples(folder / str(size), sizes.samples, size, network.output_size)


def _settings(case: Case, batch: int) -> tuple[StageConfig, TrainConfig]:
    stage = StageConfig(batch_size=batch, log_every=1_000_000, teacher_steps=1_000_000)
    return stage, TrainConfig(bf16=case.bf16 and device().type == "cuda", compile=case.compile, ema=case.ema)


def _untrained(case: Case, network: NetworkConfig, sizes: Sizes, stage: StageConfig) -> Training:
    """As a worker builds it (`pipeline.training.worker`), which needs more packages."""
    torch.manual_seed(0)
    model = HGG(ModelConfig(network=network))
    model.to(device(), memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
    objective = Objective(model, LOSS, joint=case.stage == "joint")
    objective.train()
    average = MovingAverage(model, case.ema) if case.ema else None
    if case.compile:
        compile_network(model.network, sizes.backend)
    return Training(objective, make_optimiser(model, stage), average, TrainingProgress())


def _loop(
    training: Training,
    reader: SampleReader,
    sizes: Sizes,
    step_ms: float,
    stage: StageConfig,
    options: TrainConfig,
) -> dict[str, Any]:
    """Images a second of the whole loop and its share of waiting, after the batches that were read ahead."""
    stream = training_batches(reader, sizes.threads, device())
    _advance(training, stream, LEAST_LOOP, stage, options)
    steps = max(LEAST_LOOP, round(1000 * sizes.loop_seconds / step_ms))
    row = _advance(training, stream, steps, stage, options)
    stream.close()
    return {
        "loop_images_per_second": round(row["images_per_second"] or 0.0, 1),
        "loop_waiting_for_data": round(row["waiting"] or 0.0, 4),
        "threads": sizes.threads,
    }


def _advance(
    training: Training, batches: Iterator[Batch], steps: int, stage: StageConfig, options: TrainConfig
) -> LogRow:
    """So many more steps of the training loop; their log line."""
    rows: list[LogRow] = []
    train(
        training,
        training.objective,
        batches,
        stage.model_copy(update={"steps": training.progress.step + steps}),
        options,
        validate=lambda: None,
        report=rows.append,
        save=lambda _: None,
    )
    return rows[-1]


def _candidates(model: HGG, batch: Batch) -> float:
    """Mean over the images of what the joint stage groups; an untrained network sees keypoints anywhere."""
    config = model.config.candidates
    with torch.no_grad():
        maps = model(batch.images.float().div(255).contiguous(memory_format=torch.channels_last))
        found = find_candidates(maps.heatmaps[-1], maps.tags[-1], maps.visual, config, config.max_total)
    return round(found.valid.sum(dim=1).float().mean().item(), 1)


def _precision(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """The mean loss of each quarter of the steps, in float32 and in bfloat16."""
    samples, losses = _samples(folder, sizes.network, sizes), {}
    for bf16 in (False, True):
        case = Case("joint", bf16=bf16)
        stage, options = _settings(case, batch := max(2, sizes.batch // 4))
        training = _untrained(case, sizes.network, sizes, stage)
        batches = training_batches(SampleReader(samples, batch), sizes.threads, device())
        quarters = [_advance(training, batches, sizes.precision_steps // 4, stage, options) for _ in range(4)]
        batches.close()
        losses["bf16" if bf16 else "fp32"] = [round(row["loss"] or 0.0, 6) for row in quarters]
    return losses
