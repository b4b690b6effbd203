"""A training stage from the job's side: checked, named, tracked, trained here or on Ray, summed up."""

import logging
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from pipeline.config import RunConfig
from pipeline.files import write_text
from pipeline.follow import Follower, following
from pipeline.memory import peak_mib
from pipeline.provenance import provenance, write_results
from pipeline.report import read_history
from pipeline.settings import print_config
from pipeline.start import check_start
from pipeline.task import StageName, Task, claim_folder, finished_results, plan_task
from pipeline.tracking import Tracked, sending, track
from pipeline.train import train_task

KEPT_IN_MLFLOW = ("config.yaml", "metrics.csv", "curves.png", "train.log", "pictures", "results.json")

log = logging.getLogger(__name__)


def run_stage(config: RunConfig, stage: StageName) -> dict[str, Any]:
    """Train a stage and return what `results.json` holds; a finished run is not trained again.

    Raises:
        UserError: something that the stage needs is missing or does not fit.
        NotFiniteError: a loss that is not finite.
    """
    check_start(config)
    task = plan_task(config, stage)
    claim_folder(task)
    results = finished_results(task)
    if results is not None:
        log.info("%s: finished already, at step %d of %d", task.name, results["steps"], task.settings.steps)
        return results if results["mlflow_model"] else _send_again(task, results)
    write_text(task.folder / "config.yaml", print_config(config))
    on_ray = config.train.num_workers > 0
    with ExitStack() as stack:
        tracked = stack.enter_context(_tracked(task))
        stack.callback(_keep, task, tracked)
        with following(task.folder, tracked, relay=on_ray):
            figures = train_task(task)
        results = _results(task, tracked, figures)
        write_results(task.folder, results)
    if not results["mlflow_model"]:
        log.warning(
            "%s: done, but MLflow lacks some of it: the same command sends that once it answers", task.name
        )
    return results


def _tracked(task: Task) -> AbstractContextManager[Tracked]:
    """The stage's MLflow run, continued where there is one."""
    tags = {"configuration": task.name, "data": task.data}
    return track(task.config, task.stage, task.folder, tags, resume=True)


def _send_again(task: Task, results: dict[str, Any]) -> dict[str, Any]:
    """Send what a finished run could not: figures, files and the model."""
    with _tracked(task) as tracked:
        Follower(task.folder, tracked, relay=False).poll()
        results = results | {
            "mlflow_run": tracked.run_id,
            "mlflow_model": _send_model(task, tracked, results),
        }
        write_results(task.folder, results)
        _keep(task, tracked)
    return results


def _results(task: Task, tracked: Tracked, figures: dict[str, Any]) -> dict[str, Any]:
    """Everything about a finished run, its model in MLflow included."""
    best, last = task.folder / "best.pt", task.folder / "last.pt"
    log.info("%s: storing the best model in MLflow", task.name)
    return {
        "run": task.name,
        "data": task.data,
        **figures,
        "driver_peak_mib": int(peak_mib()),
        "best": str(best),
        "latest": str(last),
        "mlflow_run": tracked.run_id,
        "mlflow_model": _send_model(task, tracked, figures),
        **provenance(),
    }


def _send_model(task: Task, tracked: Tracked, figures: dict[str, Any]) -> str | None:
    """The model's URI, or None where the store did not take it, or lacks metrics that came before it."""
    with sending("the best model"):
        last = read_history(task.folder / "metrics.csv")[-1:]
        if last and tracked.last_step("loss") < (last[0]["step"] or 0):
            log.warning("not sent to MLflow: the last rows of %s", task.folder / "metrics.csv")
            return None
        return tracked.model(
            task.folder / "best.pt", task.config.grouping, figures["best_step"] or figures["steps"]
        )
    return None


def _keep(task: Task, tracked: Tracked) -> None:
    """Store what the run has left so far, also when it failed."""
    with sending(f"files of {task.folder}"):
        for name in KEPT_IN_MLFLOW:
            tracked.artifact(task.folder / name)
        for name in ("best.pt", "last.pt"):
            tracked.artifact(task.folder / name, "checkpoints")
