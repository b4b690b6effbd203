"""What a run leaves behind as it goes: rank 0's log, figures, curves and models."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hgg.weights import save_model
from pipeline.base.files import atomic_path
from pipeline.base.memory import peak_mib
from pipeline.base.secrets import log_format
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.history import add_to_history, begin_history, draw_curves, log_line, read_history
from pipeline.training.loop import Row, Training
from pipeline.training.ranks import rank, world_size
from pipeline.training.stage import StageRun

log = logging.getLogger(__name__)


class Outputs:
    """What a run leaves behind as it goes: rank 0 writes, the others only keep step with it."""

    def __init__(self, run: StageRun, training: Training, checkpoints: Checkpoints) -> None:
        self.run = run
        self.training = training
        self.checkpoints = checkpoints
        self.writes = rank() == 0
        self.history = run.folder / "metrics.csv"
        self.curves = run.folder / "curves.png"

    def begin(self) -> None:
        """Say where the run goes on, and drop log lines of steps that are to be made again."""
        step, steps = self.training.progress.step, self.run.settings.steps
        if not self.writes:
            return
        begin_history(self.history, step)
        verb = "resuming at" if step else "starting at"
        workers, before = world_size(), self.training.progress.workers
        log.info(
            "%s: %s step %d of %d, %d process%s",
            *(self.run.name, verb, step, steps, workers, "es" if workers > 1 else ""),
        )
        if before not in (0, workers):
            log.info(
                "%s: %d before: a step's images stay the same %d, their sums may differ in the last digits",
                *(self.run.name, before, self.run.settings.batch_size),
            )

    def report(self, row: Row) -> None:
        """Write a log line to the log, to metrics.csv and, after a validation, into the curves."""
        if not self.writes:
            return
        log.info(log_line(row, self.run.settings.steps))
        add_to_history(self.history, row)
        if row["ap"] is not None or row["step"] == self.run.settings.steps:
            draw_curves(read_history(self.history), self.curves, self.run.name)

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
            "images_per_second": round(progress.step * self.run.settings.batch_size / steps_seconds, 2),
            "last": {name: last.get(name) for name in ("loss", "heatmap", "push", "pull", "edge", "macro")},
            "best_ap": progress.best_ap,
            "best_step": progress.best_step,
            "workers": world_size(),
            "worker_peak_mib": int(peak_mib()),
        }

    def _write_model(self, name: str) -> None:
        with atomic_path(self.run.folder / name) as temporary:
            save_model(temporary, self.training.model)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Log lines of the pipeline also go to a file; in a Ray worker that is how the driver gets them."""
    handler = _Appending(path)
    handler.setFormatter(log_format())
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
def silent() -> Iterator[None]:
    """Only rank 0 speaks."""
    yield
