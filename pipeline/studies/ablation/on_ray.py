"""Trainings of an ablation with their evaluations, as many at once as the Ray cluster has room for."""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pipeline.base.provenance import Origin
from pipeline.cluster.resources import cpus_needed, in_tasks, limit_threads, room_for
from pipeline.cluster.start import start_ray
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.train import run_stage
from pipeline.settings.config import RunConfig
from pipeline.studies.ablation.rows import Row, RowTrial, finished_trials
from pipeline.studies.ablation.table import write_tables
from pipeline.tracking.run import Tracked
from pipeline.training.history import read_history

LOOK_SECONDS = 30.0

log = logging.getLogger(__name__)


class Unit(NamedTuple):
    """What is run in one go: a training and the trials that evaluate it."""

    training: RunConfig
    trials: list[RowTrial]

    @property
    def name(self) -> str:
        """Rows and seed, for log lines."""
        rows = dict.fromkeys(trial.row.name for trial in self.trials)
        return f"row {' and '.join(rows)} seed {self.trials[0].seed}"


def units_of(trials: Sequence[RowTrial]) -> list[Unit]:
    """Trials put together by their trainings; seed by seed, so that a half-finished table has all rows."""
    places = {trial.training.trial: place for place, trial in reversed([*enumerate(trials)])}
    ordered = sorted(trials, key=lambda trial: (trial.seed, places[trial.training.trial]))
    return [Unit(part[0].training, part) for part in _parts(ordered)]


def _parts(ordered: Sequence[RowTrial]) -> list[list[RowTrial]]:
    return [list(part) for _, part in groupby(ordered, key=lambda trial: trial.training.trial)]


def run_units(
    units: list[Unit], base: RunConfig, tracked: Tracked, folder: Path, shown: Sequence[Row]
) -> None:
    """Run units on Ray, as many at a time as there is room for; the first that fails ends the ablation."""
    with start_ray(cpus=cpus_needed(base.train)):
        room = room_for(base.train)
        log.info("ablation: %d trainings to run, %d at a time", len(units), min(room, len(units)))
        progress = _Progress(units)
        about = tracked.run_id, tracked.origin
        for done, running in in_tasks(_run_unit, units, base.train, room, *about, seconds=LOOK_SECONDS):
            progress.finished += done
            if done:
                write_tables(folder, shown, finished_trials(base.run_root))
            progress.log(running)


def _run_unit(unit: Unit, parent: str, origin: Origin) -> None:
    """Runs in a task of Ray: train, or go on, or find it done; then evaluate what is not evaluated yet."""
    limit_threads(unit.training.train)
    trained = run_stage(unit.training, "joint", origin, claimed=True)
    training = {name: trained[name] for name in ("run", "steps", "seconds", "workers", "commit")}
    for trial in unit.trials:
        tags = {"mlflow.parentRunId": parent} | {f"ablation.{k}": str(v) for k, v in trial.key.items()}
        extra = {"ablation": trial.key, "training": training}
        run_evaluation(trial.evaluation, tags=tags, extra=extra, resume=True, claimed=True, origin=origin)


class _Progress:
    """Log lines of where the running trainings stand, and of the time left."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self.finished: list[Unit] = []
        self.begun = time.monotonic()
        self.steps_before = self._steps(units)

    def log(self, running: Sequence[Unit]) -> None:
        """One line."""
        total = sum(unit.training.joint.steps for unit in self.units)
        # A training that waits may have steps of an earlier start, which `steps_before` counts too.
        others = [unit for unit in self.units if unit not in self.finished]
        done = sum(unit.training.joint.steps for unit in self.finished) + self._steps(others)
        # One that was killed goes back to its checkpoint, and then to fewer steps than were counted.
        self.steps_before = min(self.steps_before, done)
        here, seconds = done - self.steps_before, time.monotonic() - self.begun
        left = f", about {timedelta(seconds=round((total - done) * seconds / here))} left" if here else ""
        now = "; ".join(f"{unit.name}: step {self._steps([unit])}" for unit in running)
        log.info(
            "ablation: %d of %d trainings done%s%s",
            *(len(self.finished), len(self.units), left, f" ({now})" if now else ""),
        )

    @staticmethod
    def _steps(units: Sequence[Unit]) -> int:
        """Steps that units have logged."""
        rows = [read_history(unit.training.outputs / "joint" / "metrics.csv") for unit in units]
        return sum(int(history[-1]["step"] or 0) for history in rows if history)
