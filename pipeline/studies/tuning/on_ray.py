"""A sweep on Ray Tune: trials drawn by Optuna, pruned by ASHA, as many at once as there is room for."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune import ExperimentAnalysis
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from pipeline.base.errors import UserError, first_line
from pipeline.base.provenance import Origin
from pipeline.base.secrets import masked_errors
from pipeline.cluster.resources import cpus_needed, in_tasks, limit_threads, ray_storage, room_for
from pipeline.cluster.start import start_ray
from pipeline.settings.config import RunConfig, TrainConfig
from pipeline.studies.tuning.points import SEARCHED, first_points, point_config, rungs
from pipeline.studies.tuning.trial import Trial, read_trial, run_trial
from pipeline.tracking.run import Tracked

STATE = "ray"  # folder of Ray Tune's own files, in the sweep's
PARENT = "mlflow.parentRunId"
METRIC, STEP = "ap", "step"
QUIET = {
    # Ctrl-C ends the sweep as it ends any job; it goes on by the same command.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A score that takes half a second to handle is no news: the machine is busy with the trials.
    "TUNE_WARN_THRESHOLD_S": "10",
    # The newer output prints boxes among the job's lines even when it is asked to be silent.
    "RAY_AIR_NEW_OUTPUT": "0",
}

log = logging.getLogger(__name__)


def begun(folder: Path) -> bool:
    """Whether Ray Tune has left a search there that can go on."""
    storage = ray_storage(folder / STATE)
    return tune.Tuner.can_restore(storage.pop("storage_path"), **storage)


def search(base: RunConfig, folder: Path, tracked: Tracked) -> list[Trial]:
    """Run the trials that are not over, or go on with those that a killed sweep left.

    Args:
        base: configuration of the sweep.
        folder: of the sweep.
        tracked: MLflow run that the trials' runs belong to.

    Raises:
        UserError: the cluster has no room for one trial, or another version of the code began the search.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with start_ray(cpus=cpus_needed(base.train)):
        trial = _trainable(base, tracked.run_id, tracked.origin)
        trainable = tune.with_resources(trial, _resources(base.train))
        if begun(folder):
            log.info("tune: going on with the search in %s", folder)
            tuner = _restored(folder, trainable)
        else:
            tuner = _new_tuner(base, folder, trainable)
        with _scores_may_be_missing():
            results = tuner.fit()
        ended = [(result.config or {}, result.error) for result in results]
    return [
        read_trial(base, number, {name: point[name] for name in SEARCHED}, first_line(error) if error else "")
        for number, (point, error) in enumerate(ended, 1)
    ]


def train_all(configs: Sequence[RunConfig], tracked: Tracked) -> None:
    """Train trials outside of any search, as many at a time as there is room for."""
    options, over = configs[0].train, 0
    with start_ray(cpus=cpus_needed(options)):
        about = tracked.run_id, tracked.origin
        for done, _ in in_tasks(_train_one, configs, options, room_for(options), *about):
            over += len(done)
            log.info("tune: %d of %d trainings with other seeds done", over, len(configs))


def _new_tuner(base: RunConfig, folder: Path, trainable: Any) -> tune.Tuner:
    options, room = base.tune, room_for(base.train)
    space: dict[str, Any] = {
        name: tune.loguniform(*getattr(options, name)) for name in SEARCHED if name != "cut"
    }
    points: list[Any] = first_points(base)
    return tune.Tuner(
        trainable,
        param_space=space | {"cut": tune.uniform(*options.cut)},
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=options.trials,
            max_concurrent_trials=min(room, options.concurrent or room),
            search_alg=_Optuna(points_to_evaluate=points, seed=options.seed),
            scheduler=_scheduler(base),
        ),
        run_config=tune.RunConfig(
            name=STATE,
            **ray_storage(folder),
            verbose=0,
            callbacks=[_Lines(options.trials, base.joint.steps)],
            failure_config=tune.FailureConfig(max_failures=base.train.max_failures),
        ),
    )


def _restored(folder: Path, trainable: Any) -> tune.Tuner:
    """The search as Ray Tune pickled it; `UserError` where that was by code of other names."""
    storage = ray_storage(folder / STATE)
    try:
        with _scores_may_be_missing():
            return tune.Tuner.restore(
                storage.pop("storage_path"),
                trainable=trainable,
                resume_unfinished=True,
                resume_errored=True,
                **storage,
            )
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{folder}: this sweep was begun by another version of the code, and cannot be read "
            f"({first_line(error)}): finish it with that version, or move the folder away to begin anew"
        ) from error


@contextmanager
def _scores_may_be_missing() -> Iterator[None]:
    """Tune reads all scores as it restores trials and when all are over, and warns of those that it misses.

    These are scores of trials that were killed before their first, and of trials begun in a run root that was
    moved, which Tune then looks for where the run root was. We read scores from the trials' own files.
    """
    logger = logging.getLogger(ExperimentAnalysis.__module__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _scheduler(base: RunConfig) -> Any:
    if not rungs(base):  # scored once, at the end
        return FIFOScheduler()
    return ASHAScheduler(
        # Not Tune's own counter, which begins anew in a trial that goes on.
        time_attr=STEP,
        # Never reached: a trial ends by itself, with its results.
        max_t=base.joint.steps + 1,
        grace_period=base.joint.validate_every,
        reduction_factor=base.tune.reduction,
    )


def _resources(options: TrainConfig) -> Any:
    """What Tune reserves for a trial; where Ray Train brings the workers, the trial only waits for them.

    Then it must not hold a CPU that they need, and Tune refuses a trial of nothing at all: so one byte.
    """
    if options.num_workers:
        return tune.PlacementGroupFactory([{"CPU": 0.0, "memory": 1}])
    return {"cpu": options.cpus_per_worker} | ({"gpu": 1} if options.use_gpu else {})


def _trainable(base: RunConfig, parent: str, origin: Origin) -> Callable[[dict[str, float]], None]:
    """The function that Tune runs in a process of its own for each trial."""

    def trial(config: dict[str, float], base: RunConfig) -> None:
        limit_threads(base.train)
        with masked_errors():  # Tune writes them into error.txt
            run_trial(
                point_config(base, config),
                {PARENT: parent},
                scored=lambda step, ap: tune.report({STEP: step, METRIC: ap}),
                callbacks=[TuneReportCallback()] if base.train.num_workers else [],
                origin=origin,
            )

    # Tune writes the function into its files, and so what it holds; tracking.uri may have a password.
    return tune.with_parameters(trial, base=base)


def _train_one(config: RunConfig, parent: str, origin: Origin) -> None:
    """Runs in a task of Ray."""
    limit_threads(config.train)
    run_trial(config, {PARENT: parent}, origin=origin)


class _Optuna(OptunaSearch):
    """Without the scores on the way: Optuna has them for pruners of its own, and warns where they repeat."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Called with each score."""


class _Lines(tune.Callback):
    """A log line for each score, and for each trial that is over."""

    def __init__(self, total: int, steps: int) -> None:
        self.total = total
        self.steps = steps

    def on_trial_result(self, *_: Any, trials: list[TuneTrial], trial: TuneTrial, **about: Any) -> None:
        """Called with each score."""
        result = about["result"]
        if METRIC not in result:
            return
        over = sum(each.is_finished() for each in trials)
        best = max(each.last_result.get(METRIC, 0.0) for each in trials)
        log.info(
            "tune: trial %d of %d: step %d of %d, AP %.4f (%d over, best %.4f)",
            *(trials.index(trial) + 1, self.total, result[STEP], self.steps, result[METRIC]),
            *(over, max(best, result[METRIC])),
        )

    def on_trial_error(self, *_: Any, trials: list[TuneTrial], trial: TuneTrial, **_about: Any) -> None:
        """Called when a trial has failed too often."""
        log.warning("tune: trial %d of %d failed: %s", trials.index(trial) + 1, self.total, trial.error_file)
