"""What every rank of a training stage does: build, restore, train, and on rank 0 write what is seen of it."""

import logging
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_network
from pipeline.base.errors import UserError
from pipeline.base.memory import keep_freed_memory
from pipeline.batches.collate import Batch
from pipeline.batches.loader import training_batches
from pipeline.batches.reader import SampleReader
from pipeline.settings.config import TrainConfig
from pipeline.training.checkpoint import Checkpoints, restore_checkpoint
from pipeline.training.compiling import check_compiling, compile_network, set_float32_precision
from pipeline.training.encoder import take_over
from pipeline.training.loop import Training, TrainingProgress, train
from pipeline.training.normalisation import share_normalisation
from pipeline.training.optimiser import MovingAverage, make_optimiser
from pipeline.training.outputs import Outputs, logging_to, silent
from pipeline.training.ranks import rank, together, world_size
from pipeline.training.stage import StageRun
from pipeline.training.validation import validate

log = logging.getLogger(__name__)


def run_worker(run: StageRun, checkpoints: Checkpoints, device: torch.device) -> dict[str, Any]:
    """Train a stage to its end, from its latest checkpoint where there is one.

    Alone, or as one rank of an initialised process group. Returns the figures of rank 0's results.

    Raises:
        UserError: a pretrained model or a checkpoint that does not fit, or no way to compile.
        NotFiniteError: a loss that is not finite.
    """
    keep_freed_memory()
    options = run.config.train
    if device.type == "cuda":
        set_float32_precision(options.tf32)
    if options.compile:
        together(partial(check_compiling, device))
    with logging_to(run.folder / "train.log") if rank() == 0 else silent():
        training = build_training(run, device)
        latest = checkpoints.latest()
        if latest is not None:
            restore_checkpoint(latest, training)
        outputs = Outputs(run, training, checkpoints)
        outputs.begin()
        with closing(_batches(run, training.progress.step, device)) as batches:
            train(
                training,
                forward_of(training.objective, options, device),
                batches,
                run.settings,
                options,
                validate=partial(validate, run, training),
                report=outputs.report,
                save=outputs.save,
            )
        return outputs.results()


def build_training(run: StageRun, device: torch.device) -> Training:
    """The stage's untrained state: for joint training with the pretrained proposal network."""
    config = run.config
    torch.manual_seed(config.train.seed)
    model = HGG(config.model)
    if run.pretrained is not None:
        try:
            left = load_network(run.pretrained, model)
        except ValueError as error:
            raise UserError(str(error)) from error
        if left:
            log.info(
                "%s: of other joints than the %d of %s: its network is taken over, but for the %d weights "
                "that are made for joints, which begin anew",
                run.pretrained,
                config.joints.count,
                config.joints.name,
                len(left),
            )
    if run.encoder is not None:
        take_over(run.encoder, model)
    # Convolutions on CPUs are 5 to 10 % faster with the channels last.
    model.to(device, memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
    objective = Objective(model, config.loss, joint=run.stage == "joint")
    average = MovingAverage(model, config.train.ema) if config.train.ema else None
    return Training(objective, make_optimiser(model, run.settings), average, TrainingProgress())


def forward_of(objective: Objective, options: TrainConfig, device: torch.device) -> nn.Module:
    """The objective as it is called in training, with what `train` asks for around and inside it.

    It stays the module that is restored and kept; the moving average, a copy made before, stays as it is.
    """
    if options.sync_batchnorm and world_size() > 1:
        share_normalisation(objective.model)
    if options.compile:
        compile_network(objective.model.network)
    return distributed(objective, device)


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


def _batches(run: StageRun, step: int, device: torch.device) -> Generator[Batch, None, None]:
    """This rank's batches after `step`, on its device."""
    options = run.config.train
    reader = SampleReader(
        run.samples,
        run.settings.batch_size // world_size(),
        rank(),
        world_size(),
        options.seed,
        start_step=step,
        held_out=options.held_out,
    )
    return training_batches(reader, options.loader_workers, device)
