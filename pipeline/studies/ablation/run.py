"""Rows trained from one pretrained network and evaluated, as many at once as the Ray cluster has room for."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgg.matching import GRACLUS_MISSING
from pipeline.base.errors import UserError
from pipeline.base.lock import held
from pipeline.base.provenance import write_results
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.studies.ablation.rows import (
    FOLDER,
    Row,
    can_run,
    choose_rows,
    earlier_places,
    find_rows,
    finished_trials,
    plan_trials,
    read_row,
)
from pipeline.studies.ablation.table import write_tables
from pipeline.tracking.run import sending, track

log = logging.getLogger(__name__)


def ablate(
    config: RunConfig, files: Sequence[Path], overrides: Sequence[str], chosen: str, seeds: int
) -> dict[str, Any]:
    """Choose rows and run them over a base configuration; returns what `results.json` holds.

    Args:
        config: the base configuration.
        files: that it was read from, over which rows are read.
        overrides: that have the last word in each row.
        chosen: names separated by commas; empty is all that this machine can run.
        seeds: trainings of each row.

    Raises:
        UserError: no such row, one that lacks torch-cluster, or what `run_ablation` says.
    """
    known = find_rows()
    asked = choose_rows(chosen, known)
    if seeds < 1:
        raise UserError(f"--seeds={seeds}: give 1 or more")
    elsewhere = earlier_places(config.run_root)
    if elsewhere:
        log.info("ablation: what was made when the run root was %s counts", elsewhere[0].run_root)
    rows = [read_row(name, known, files, overrides, elsewhere) for name in known]
    unable = [row.name for row in rows if row.name in asked and not can_run(row)]
    if unable and chosen:
        raise UserError(f"--rows={chosen}: {GRACLUS_MISSING}")
    if unable:
        log.info("ablation: without row %s: %s", ", ".join(unable), GRACLUS_MISSING)
    run = [row for row in rows if row.name in asked and row.name not in unable]
    return run_ablation(config, run, seeds, rows)


def run_ablation(base: RunConfig, rows: Sequence[Row], seeds: int, shown: Sequence[Row]) -> dict[str, Any]:
    """Train and evaluate the trials that are not finished, and write the tables.

    Under {run_root}/ablation: a folder named by the base configuration's fingerprint with ablation.md,
    ablation.csv and graphs.png, written again after every unit, and one for each training with its
    evaluations. A killed ablation goes on by the same command: finished trials are kept, trainings resume at
    their last checkpoint.

    Args:
        base: configuration without any row.
        rows: what is trained and evaluated.
        seeds: trainings of each.
        shown: rows of the tables; finished trials of this base configuration count, whenever they were made.

    Raises:
        UserError: something is missing or does not fit, the cluster has no room for one training, or another
            ablation is at work in the run root.
    """
    with held(base.run_root / FOLDER, "jobs/ablate.py"):
        return _run(base, rows, seeds, shown)


def _run(base: RunConfig, rows: Sequence[Row], seeds: int, shown: Sequence[Row]) -> dict[str, Any]:
    trials = [trial for row in rows for trial in plan_trials(row, seeds)]
    keys = [result["ablation"] for result in finished_trials(base.run_root)]
    todo = [trial for trial in trials if not trial.finished(keys)]
    done = len(trials) - len(todo)
    log.info("ablation: %d of %d trials are finished%s", done, len(trials), "" if todo else ": nothing to do")
    folder = base.run_root / FOLDER / fingerprint(base)
    tags = {"configuration": fingerprint(base)}
    with track(base, "ablate", folder, tags, resume=True) as tracked:
        if todo:
            # Imported here so that a finished ablation needs no Ray.
            from pipeline.studies.ablation.on_ray import run_units, units_of

            run_units(units_of(todo), base, tracked, folder, shown)
        results = {
            "trials": len(trials),
            "trials_run": len(todo),
            "rows": write_tables(folder, shown, finished_trials(base.run_root)),
            "table": str(folder / "ablation.md"),
            "mlflow_run": tracked.run_id,
            **tracked.origin,
        }
        write_results(folder, results)
        with sending(f"files of {folder}, which the same command sends once MLflow answers"):
            for path in sorted(folder.glob("*.*")):
                tracked.artifact(path)
    return results
