"""Rows trained from one pretrained network and evaluated, as many at once as the Ray cluster has room for."""

import logging
from collections.abc import Sequence
from typing import Any

from pipeline.ablation import FOLDER, Row, finished_trials, plan_trials
from pipeline.ablation_table import write_tables
from pipeline.config import RunConfig
from pipeline.fingerprint import fingerprint
from pipeline.provenance import provenance, write_results
from pipeline.tracking import track

log = logging.getLogger(__name__)


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
        UserError: something is missing or does not fit, or the cluster has no room for one training.
    """
    trials = [trial for row in rows for trial in plan_trials(row, seeds)]
    keys = [result["ablation"] for result in finished_trials(base.run_root)]
    todo = [trial for trial in trials if trial.key not in keys]
    done = len(trials) - len(todo)
    log.info("ablation: %d of %d trials are finished%s", done, len(trials), "" if todo else ": nothing to do")
    folder = base.run_root / FOLDER / fingerprint(base)
    tags = {"configuration": fingerprint(base)}
    with track(base, "ablate", folder, tags, resume=True) as tracked:
        if todo:
            # Imported here so that a finished ablation needs no Ray.
            from pipeline.ablation_on_ray import run_units, units_of

            run_units(units_of(todo), base, tracked, folder, shown)
        results = {
            "trials": len(trials),
            "trials_run": len(todo),
            "rows": write_tables(folder, shown, finished_trials(base.run_root)),
            "table": str(folder / "ablation.md"),
            "mlflow_run": tracked.run_id,
            **provenance(),
        }
        write_results(folder, results)
        for path in sorted(folder.glob("*.*")):
            tracked.artifact(path)
    return results
