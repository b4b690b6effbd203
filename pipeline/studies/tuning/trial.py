"""A trial of a sweep: one joint training, scored on images held out. Needs no Ray by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pipeline.base.files import write_text
from pipeline.base.provenance import Origin, write_results
from pipeline.commands.relay import relaying
from pipeline.settings.config import RunConfig
from pipeline.settings.load import print_config
from pipeline.studies.tuning.points import Point, point_run
from pipeline.tracking.run import track
from pipeline.training.history import read_history
from pipeline.training.loop import NotFiniteError, Row
from pipeline.training.stage import StageRun, claim_folder, finished_results, plan_stage
from pipeline.training.train import train_stage

State = Literal["finished", "pruned", "diverged", "failed"]
Scored = Callable[[int, float], None]


class Trial(NamedTuple):
    """A trial as it ended."""

    number: int
    """From 1, in the order in which they were drawn."""
    point: Point
    state: State
    """diverged: its loss was not finite."""
    run: str
    """Name of the training: its folder under the run root's tune/."""
    scores: list[tuple[int, float]]
    """Step and AP of each validation, on the images held out."""
    seconds: float
    """Of training steps, over all starts."""
    error: str
    """In one line, where it failed or diverged."""

    @property
    def ap(self) -> float:
        """The last AP; 0 where there is none, or where it diverged."""
        return self.scores[-1][1] if self.scores and self.state != "diverged" else 0.0

    @property
    def step(self) -> int:
        """Step of the last score."""
        return self.scores[-1][0] if self.scores else 0


def run_trial(
    config: RunConfig,
    tags: Mapping[str, str],
    scored: Scored | None = None,
    callbacks: Sequence[Any] = (),
    origin: Origin | None = None,
) -> None:
    """Train a trial from where it stands; a loss that is not finite ends it without an error, as an AP of 0.

    Args:
        config: of `pipeline.studies.tuning.points.point_config`.
        tags: of its MLflow run.
        scored: told step and AP of each validation, those of earlier starts included. It may raise.
        callbacks: of Ray Train, where that brings the workers.
        origin: command, commit and versions that results name; by default this process's.
    """
    run = plan_stage(config, "joint")
    claim_folder(run)
    for step, ap in _scores(run) if scored else []:
        scored(step, ap)  # pyrefly: ignore[not-callable]
    if finished_results(run) is not None:
        return
    write_text(run.folder / "config.yaml", print_config(config))
    about = {"configuration": run.name, "data": run.data, **tags}
    with track(config, "joint", run.folder, about, resume=True, origin=origin) as tracked:
        with relaying(run.folder, tracked, show=False):
            try:
                figures = train_stage(run, scored, callbacks)
            except NotFiniteError as error:
                figures = {"not_finite": str(error)}
        results = {"run": run.name, "data": run.data, **figures, "mlflow_run": tracked.run_id}
        write_results(run.folder, results | {**tracked.origin})
    if "not_finite" in figures and scored:
        scored(config.joint.steps, 0.0)


def read_trial(base: RunConfig, number: int, point: Point, error: str = "", seed: int | None = None) -> Trial:
    """How a trial ended, from what it left in its folder.

    Args:
        base: the sweep's configuration.
        number: of the trial.
        point: its values.
        error: what ended it, in one line; empty where nothing did.
        seed: of training; None is the base's.
    """
    run = point_run(base, point, seed)
    results = finished_results(run)
    scores = _scores(run)
    state: State = "failed" if error else "pruned"
    if results is not None:
        error = results.get("not_finite", "")
        state = "diverged" if error else "finished"
    rows = read_history(run.folder / "metrics.csv")
    return Trial(number, point, state, run.name, scores, _seconds(rows, base.joint.batch_size), error)


def _scores(run: StageRun) -> list[tuple[int, float]]:
    rows = read_history(run.folder / "metrics.csv")
    return [(int(row["step"] or 0), row["ap"]) for row in rows if row["ap"] is not None]


def _seconds(rows: Sequence[Row], batch_size: int) -> float:
    """Steps over their speed; validations do not count."""
    seconds, before = 0.0, 0.0
    for row in rows:
        step, speed = row["step"] or 0.0, row["images_per_second"]
        seconds += (step - before) * batch_size / speed if speed else 0.0
        before = step
    return seconds
