"""What every rank of a training stage does: build, restore, train, and on rank 0 write what is seen of it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_network
from pipeline.batches import SampleReader
from pipeline.checkpoint import Checkpoints, restore_checkpoint
from pipeline.errors import UserError
from pipeline.loader import training_batches
from pipeline.loop import Progress, Training, train
from pipeline.memory import keep_freed_memory
from pipeline.optimiser import MovingAverage, make_optimiser
from pipeline.outputs import Outputs, logging_to, silent
from pipeline.ranks import rank, world_size
from pipeline.task import Task


def run_worker(task: Task, checkpoints: Checkpoints, device: torch.device) -> dict[str, Any]:
    """Train a stage to its end, from its latest checkpoint where there is one.

    Alone, or as one rank of an initialised process group. Returns the figures of rank 0's results.

    Raises:
        UserError: a pretrained model or a checkpoint that does not fit.
        NotFiniteError: a loss that is not finite.
    """
    keep_freed_memory()
    training = build_training(task, device)
    latest = checkpoints.latest()
    if latest is not None:
        restore_checkpoint(latest, training)
    with logging_to(task.folder / "train.log") if rank() == 0 else silent():
        outputs = Outputs(task, training, checkpoints)
        outputs.begin()
        train(
            training,
            distributed(training.objective, device),
            _batches(task, training.progress.step),
            task.settings,
            task.config.train,
            validate=outputs.validate,
            report=outputs.report,
            save=outputs.save,
        )
        return outputs.results()


def build_training(task: Task, device: torch.device) -> Training:
    """The stage's untrained state: for joint training with the pretrained proposal network."""
    config = task.config
    torch.manual_seed(config.train.seed)
    model = HGG(config.model)
    if task.pretrained is not None:
        try:
            load_network(task.pretrained, model)
        except ValueError as error:
            raise UserError(str(error)) from error
    # Convolutions on CPUs are 5 to 10 % faster with the channels last.
    model.to(device, memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
    objective = Objective(model, config.loss, joint=task.stage == "joint")
    average = MovingAverage(model, config.train.ema) if config.train.ema else None
    return Training(objective, make_optimiser(model, task.settings), average, Progress())


def distributed(objective: Objective, device: torch.device) -> nn.Module:
    """The objective, wrapped in DDP where there are several ranks."""
    if world_size() == 1:
        return objective
    return DistributedDataParallel(
        objective,
        device_ids=[device.index] if device.type == "cuda" else None,
        # Statistics of normalisation differ by rank; rank 0's are kept, so sending them round serves nothing.
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
    )


def _batches(task: Task, step: int) -> Iterator[Any]:
    """This rank's batches after `step`."""
    options = task.config.train
    reader = SampleReader(
        task.samples,
        task.settings.batch_size // world_size(),
        rank(),
        world_size(),
        options.seed,
        start_step=step,
        held_out=options.held_out,
    )
    return training_batches(reader, options.loader_workers)
