"""A sweep from the job's side: checked, searched, compared over seeds, summed up in table and picture."""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.files import write_text
from pipeline.base.lock import held
from pipeline.base.provenance import write_results
from pipeline.commands.start import check_start
from pipeline.settings.config import RunConfig
from pipeline.settings.load import print_config
from pipeline.studies.tuning.points import (
    FOLDER,
    Point,
    first_points,
    paper_point,
    point_config,
    point_run,
    sweep_folder,
    sweep_name,
)
from pipeline.studies.tuning.report import Compared, verdict, write_report
from pipeline.studies.tuning.trial import Trial, read_trial
from pipeline.tracking.run import RUN_FILE, Tracked, sending, track

log = logging.getLogger(__name__)


def run_tune(base: RunConfig, resume: bool = False) -> dict[str, Any]:
    """Search, or go on with a search, and return what `results.json` holds; a finished one is not run again.

    Under {run_root}/tune: a folder named by the sweep's fingerprint with trials.md and .csv, trials.png and
    best.yaml, and a folder for each training.

    Args:
        base: configuration; `tune` says what is searched.
        resume: refuse to begin a new sweep.

    Raises:
        UserError: something is missing or does not fit, the cluster has no room for one trial, there is
            nothing to go on with, or another sweep is at work in the run root.
        RuntimeError: no trial came to its end.
    """
    check_start(base)
    first_points(base)
    folder = sweep_folder(base)
    with held(base.run_root / FOLDER, "jobs/tune.py"):
        return _run(base, folder, resume)


def _run(base: RunConfig, folder: Path, resume: bool) -> dict[str, Any]:
    """The sweep of a folder, which no other job writes to."""
    # Imported here so that everything but the search itself needs no Ray.
    from pipeline.studies.tuning.on_ray import begun, search

    name = folder.name
    if (folder / "results.json").exists():
        log.info("tune: sweep %s is finished: nothing to do", name)
        return json.loads((folder / "results.json").read_text(encoding="utf-8")) | _files(folder)
    if resume and not begun(folder):
        raise UserError(f"--resume: {folder}: no sweep of this configuration was begun: leave --resume out")
    run = point_run(base, paper_point(base))  # complains now of what every trial would
    if name == sweep_name(base):  # else it is the file by which the sweep of a moved run root is known
        write_text(folder / "config.yaml", print_config(base))
    with track(base, "tune", folder, {"configuration": name}, resume=True) as tracked:
        trials = search(base, folder, tracked)
        _close_runs(base, trials, tracked)
        best = _best(trials)
        results = {
            "sweep": name,
            "data": run.data,
            "trials": len(trials),
            "states": {state: sum(trial.state == state for trial in trials) for state in _states(trials)},
            "best": {"trial": best.number, "ap": best.ap, "values": best.point},
        }
        compared = _compare(base, best.point, tracked)
        write_report(folder, base, trials, best, compared)
        results |= {
            "compared": compared._asdict(),
            "verdict": verdict(base, best, compared),
            **_files(folder),
            "mlflow_run": tracked.run_id,
            **tracked.origin,
        }
        write_results(folder, results)
        by_hand = f"mlflow artifacts log-artifacts --run-id {tracked.run_id} --local-dir FOLDER"
        with sending(f"files of {folder} (to send them later: {by_hand})"):
            tracked.metrics({"ap": best.ap, "trials": len(trials)})
            for path in sorted(folder.glob("*.*")):
                if path.name != RUN_FILE:
                    tracked.artifact(path)
    return results


def _files(folder: Path) -> dict[str, str]:
    """What a sweep leaves to look at, where it lies now."""
    return {"table": str(folder / "trials.md"), "best_config": str(folder / "best.yaml")}


def _states(trials: list[Trial]) -> list[str]:
    return sorted({trial.state for trial in trials})


def _best(trials: list[Trial]) -> Trial:
    """The highest AP of those that came to their end."""
    finished = [trial for trial in trials if trial.state == "finished"]
    if not finished:
        why = next((trial.error for trial in trials if trial.error), "all were pruned")
        raise RuntimeError(f"none of {len(trials)} trials came to its end: {why}")
    return max(finished, key=lambda trial: (trial.ap, -trial.number))


def _compare(base: RunConfig, best: Point, tracked: Tracked) -> Compared:
    """APs of the best values and of the paper's weights, trained with seeds that the search did not see.

    The best trial's own AP is the highest of many, by luck too; other seeds have no such luck.
    """
    points = {"best": best, "paper": paper_point(base)}
    seeds = range(base.train.seed + 1, base.train.seed + 1 + base.tune.seeds)
    configs = [point_config(base, point, seed) for seed in seeds for point in points.values()]
    unlike = {config.trial: config for config in configs}
    if unlike:
        from pipeline.studies.tuning.on_ray import train_all

        log.info(
            "tune: %d trainings with other seeds, of the best values and the paper's weights", len(unlike)
        )
        train_all([*unlike.values()], tracked)
    found = {
        name: [read_trial(base, 0, point, seed=seed).ap for seed in seeds] for name, point in points.items()
    }
    return Compared(**found)


def _close_runs(base: RunConfig, trials: list[Trial], tracked: Tracked) -> None:
    """Give the trials' MLflow runs their state and values; a pruned one's process ends before it can."""
    for trial in trials:
        path = base.run_root / FOLDER / trial.run / "joint" / RUN_FILE
        with suppress(FileNotFoundError), sending(f"state of trial {trial.number}"):
            run = json.loads(path.read_text(encoding="utf-8"))["run_id"]
            tracked.client.set_tag(run, "trial", str(trial.number))
            tracked.client.set_tag(run, "outcome", trial.state)
            tracked.client.set_terminated(run, "FAILED" if trial.state == "failed" else "FINISHED")
