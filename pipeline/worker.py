"""What every rank of a training stage does: build, restore, train, and on rank 0 write what is seen of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hgg.model import HGG
from hgg.objective import Objective
from hgg.weights import load_network, save_model
from pipeline.batches import SampleReader
from pipeline.checkpoint import Checkpoints, restore_checkpoint
from pipeline.errors import UserError
from pipeline.evaluate import Grouping, evaluate_model
from pipeline.files import atomic_path
from pipeline.loader import training_batches
from pipeline.loop import Progress, Row, Training, rank, train, world_size
from pipeline.memory import keep_freed_memory, peak_mib
from pipeline.optimiser import MovingAverage, make_optimiser
from pipeline.pictures import Gallery
from pipeline.report import add_to_history, begin_history, draw_curves, log_line, read_history
from pipeline.task import Task

PICTURES = 4  # of the validation images

log = logging.getLogger(__name__)


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
    with _logging_to(task.folder / "train.log") if rank() == 0 else _silent():
        outputs = _Outputs(task, training, checkpoints)
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


class _Outputs:
    """What a run leaves behind as it goes: rank 0 writes, the others only keep step with it."""

    def __init__(self, task: Task, training: Training, checkpoints: Checkpoints) -> None:
        self.task = task
        self.training = training
        self.checkpoints = checkpoints
        self.writes = rank() == 0
        self.history = task.folder / "metrics.csv"
        self.curves = task.folder / "curves.png"

    def begin(self) -> None:
        """Say where the run goes on, and drop log lines of steps that are to be made again."""
        step, steps = self.training.progress.step, self.task.settings.steps
        if not self.writes:
            return
        begin_history(self.history, step)
        verb = "resuming at" if step else "starting at"
        workers, before = world_size(), self.training.progress.workers
        log.info(
            "%s: %s step %d of %d, %d process%s",
            *(self.task.name, verb, step, steps, workers, "es" if workers > 1 else ""),
        )
        if before not in (0, workers):
            log.info(
                "%s: %d before: a step's images stay the same %d, their sums may differ in the last digits",
                *(self.task.name, before, self.task.settings.batch_size),
            )

    def validate(self) -> Row | None:
        """AP on the validation subset, computed by rank 0 while the others wait for it."""
        config = self.task.config
        if not config.train.validation_images:
            return None
        scores = [0.0, 0.0]
        if self.writes:
            groupings: list[Grouping] = ["ae"] if self.task.stage == "pretrain" else ["hgg", "ae"]
            validation = self.task.validation
            gallery = Gallery(PICTURES, config.joints)
            found = evaluate_model(
                self.training.model,
                validation.records,
                validation.annotations,
                batch_size=config.evaluate.batch_size,
                groupings=groupings,
                shards=validation.shards,
                limit=config.train.validation_images,
                gallery=gallery,
            )
            gallery.draw(self.task.folder / "pictures")
            scores = [found.ap[grouping]["AP"] for grouping in (groupings[0], "ae")]
        ap, ap_ae = _from_rank_0(scores)
        return {"ap": ap, "ap_ae": ap_ae}

    def report(self, row: Row) -> None:
        """Write a log line to the log, to metrics.csv and, after a validation, into the curves."""
        if not self.writes:
            return
        log.info(log_line(row, self.task.settings.steps))
        add_to_history(self.history, row)
        if row["ap"] is not None or row["step"] == self.task.settings.steps:
            draw_curves(read_history(self.history), self.curves, self.task.name)

    def save(self, ap: float | None) -> None:
        """Keep a checkpoint, the latest model and, where it is, the best one."""
        progress = self.training.progress
        best = ap is not None and (progress.best_ap is None or ap > progress.best_ap)
        if best:
            progress.best_ap, progress.best_step = ap, progress.step
        if self.writes:
            self._write_model("last.pt")
            # Where nothing is validated the last model counts as the best.
            if best or progress.best_ap is None:
                self._write_model("best.pt")
        self.checkpoints.save(self.training, ap)

    def results(self) -> dict[str, Any]:
        """Figures of the whole run; the same ones when a finished run is started again."""
        rows = read_history(self.history)
        last = rows[-1] if rows else {}
        progress = self.training.progress
        steps_seconds = max(progress.seconds, 1e-9)
        return {
            "steps": progress.step,
            "seconds": round(progress.seconds, 1),
            "images_per_second": round(progress.step * self.task.settings.batch_size / steps_seconds, 2),
            "last": {name: last.get(name) for name in ("loss", "heatmap", "push", "pull", "edge", "macro")},
            "best_ap": progress.best_ap,
            "best_step": progress.best_step,
            "workers": world_size(),
            "worker_peak_mib": int(peak_mib()),
        }

    def _write_model(self, name: str) -> None:
        with atomic_path(self.task.folder / name) as temporary:
            save_model(temporary, self.training.model)


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


def _from_rank_0(values: list[float]) -> list[float]:
    """Rank 0's values on every rank."""
    if world_size() == 1:
        return values
    shared: list[Any] = [values]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Log lines of the pipeline also go to a file; in a Ray worker that is how the driver gets them."""
    handler = _Appending(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("pipeline")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


class _Appending(logging.Handler):
    """Adds each line to a file, here or in a store, and leaves it whole in between."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Add a line; a file that cannot be written is reported as all handlers do."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self.format(record) + "\n")
        except OSError:
            self.handleError(record)


@contextmanager
def _silent() -> Iterator[None]:
    """Only rank 0 speaks."""
    yield
