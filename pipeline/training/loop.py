"""The training loop of both stages, in plain PyTorch: no Ray, no MLflow, no files.

Whoever calls it (a Ray Train worker, the process itself, a test) brings the batches and what is to be done
with log lines, validations and checkpoints. It runs alone or as one rank of an initialised process group.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hgg.model import HGG
from hgg.objective import Objective, Terms
from pipeline.base.seeds import step_seed
from pipeline.batches.augment import augment
from pipeline.batches.reader import Batch
from pipeline.settings.config import StageConfig, TrainConfig
from pipeline.training.optimiser import MovingAverage, clip_gradients, set_rates
from pipeline.training.ranks import mean_over_ranks, rank, world_size

Row = dict[str, float | None]
"""Figures of one log line, by the names of `pipeline.training.history.COLUMNS`."""


class NotFiniteError(ArithmeticError):
    """A loss or a gradient became infinite or not a number; training on would only spread it."""


@dataclass
class TrainingProgress:
    """Where a run stands; a checkpoint holds it, so that a resumed run reports as an undisturbed one."""

    step: int = 0
    """Optimiser steps made."""
    seconds: float = 0.0
    """Time in the loop, validations included, over all starts of the run."""
    best_ap: float | None = None
    """Best AP on the validation subset."""
    best_step: int | None = None
    """Step of `best_ap`."""
    sums: dict[str, float] = field(default_factory=dict)
    """What the next log line averages: sums over the steps since the last one."""
    steps: int = 0
    """Steps in `sums`."""
    workers: int = 0
    """Ranks that made the last step; 0 where there was none, or where it was not kept."""


@dataclass
class Training:
    """What training changes: together with the settings, all that a checkpoint needs."""

    objective: Objective
    optimiser: torch.optim.Optimizer
    average: MovingAverage | None
    progress: TrainingProgress

    @property
    def model(self) -> HGG:
        """The model that is validated and kept: the moving average of the weights where there is one."""
        return self.objective.model if self.average is None else self.average.model


def train(
    training: Training,
    forward: nn.Module,
    batches: Iterator[Batch],
    stage: StageConfig,
    options: TrainConfig,
    *,
    validate: Callable[[], Row | None],
    report: Callable[[Row], None],
    save: Callable[[float | None], None],
) -> None:
    """Train from `training.progress.step` to `stage.steps`.

    Args:
        training: is changed in place.
        forward: the objective, or DDP around it.
        batches: this rank's, beginning with that of the next step; none is kept when the next is asked for.
        validate: called on every rank after each `validate_every` steps and the last; gives `ap` and
            `ap_ae`, the same on every rank, or None where nothing is validated.
        report: called on every rank with each log line's figures, means over ranks and steps.
        save: called on every rank after each validation, each `checkpoint_every` steps and the last, with
            the `ap` just measured, if any.

    Raises:
        NotFiniteError: on every rank alike, before the weights are touched.
    """
    progress, optimiser = training.progress, training.optimiser
    device = next(training.objective.parameters()).device
    trained = [parameter for parameter in training.objective.parameters() if parameter.requires_grad]
    started = time.perf_counter() - progress.seconds
    forward.train()
    for step in range(progress.step + 1, stage.steps + 1):
        begun = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - begun

        torch.manual_seed(step_seed(options.seed, step, rank()))
        rate = set_rates(optimiser, step, stage)
        batch = batch.to(device)
        images, targets = augment(batch, options.flip, options.colour, training.objective.model.config.joints)
        images = images.contiguous(memory_format=torch.channels_last)
        terms = forward(images, targets, teacher_share(step, stage), options.bf16)
        optimiser.zero_grad()
        terms.total.backward()
        means, norm = _read(terms, clip_gradients(trained, stage.clip_norm))
        if not all(map(math.isfinite, (*means, norm))):  # on every rank alike
            raise NotFiniteError(_what_is_not_finite(step, terms, batch))
        optimiser.step()
        if training.average is not None:
            training.average.update(training.objective.model, step - 1)

        busy = time.perf_counter() - begun
        progress.step, progress.workers = step, world_size()
        _add(progress, means, gradient_norm=norm, busy=busy, waited=waited)
        last = step == stage.steps
        scores = validate() if last or step % stage.validate_every == 0 else None
        progress.seconds = time.perf_counter() - started
        if last or scores or step % stage.log_every == 0:
            report(_take_row(progress, stage, rate) | (scores or {}))
        if last or scores or step % stage.checkpoint_every == 0:
            save(scores["ap"] if scores else None)


def teacher_share(step: int, stage: StageConfig) -> float:
    """Probability of an image to merge by ground truth: 1 at step 1, 0 after `teacher_steps`."""
    return max(0.0, 1 - (step - 1) / stage.teacher_steps) if stage.teacher_steps else 0.0


def _read(terms: Terms, norm: Tensor) -> tuple[list[float], float]:
    """The terms' means over the ranks, and the gradient's norm, which is the same on every rank.

    They are read together, since a GPU is waited for here, and nowhere else in the loop.
    """
    *means, norm_read = torch.cat((mean_over_ranks(terms), norm[None])).tolist()
    return means, norm_read


def _add(progress: TrainingProgress, means: list[float], **figures: float) -> None:
    for name, value in (dict(zip(Terms._fields, means, strict=True)) | figures).items():
        progress.sums[name] = progress.sums.get(name, 0.0) + value
    progress.steps += 1


def _take_row(progress: TrainingProgress, stage: StageConfig, rate: float) -> Row:
    """The figures of a log line; the sums begin anew."""
    mean = {name: value / progress.steps for name, value in progress.sums.items()}
    progress.sums, progress.steps = {}, 0
    return {
        "step": progress.step,
        "loss": mean.pop("total"),
        "lr": rate,
        "images_per_second": stage.batch_size / mean["busy"],
        "waiting": mean.pop("waited") / mean["busy"],
        "seconds_left": mean.pop("busy") * (stage.steps - progress.step),
        "ap": None,
        "ap_ae": None,
        **mean,
    }


def _what_is_not_finite(step: int, terms: Terms, batch: Batch) -> str:
    """Terms and image ids of the ranks where a term is not finite; of all ranks where only gradients are."""
    values = {name: term.item() for name, term in terms._asdict().items()}
    here: dict[str, Any] = {"values": values, "images": batch.image_ids.tolist()}
    ranks = [here]
    if world_size() > 1:
        ranks = [{}] * world_size()
        dist.all_gather_object(ranks, here)
    guilty = [r for r in ranks if not all(map(math.isfinite, r["values"].values()))]
    what = "the loss is not finite" if guilty else "the gradient is not finite although the loss is"
    places = [
        ", ".join(f"{name}={value:g}" for name, value in r["values"].items())
        + f" on images {', '.join(map(str, r['images']))}"
        for r in guilty or ranks
    ]
    return f"step {step}: {what}: {'; '.join(places)}; a lower rate or a clip_norm may help"
