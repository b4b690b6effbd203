"""A training stage from the job's side: checked, named, tracked, trained here or on Ray, summed up."""

import logging
from contextlib import ExitStack
from typing import Any

import torch

from pipeline.checkpoint import FolderCheckpoints
from pipeline.command import UserError, provenance, write_results
from pipeline.config import RunConfig
from pipeline.files import write_text
from pipeline.follow import following
from pipeline.memory import peak_mib
from pipeline.settings import print_config
from pipeline.task import StageName, Task, claim_folder, finished_results, plan_task
from pipeline.tracking import Tracked, track
from pipeline.worker import run_worker

KEPT_IN_MLFLOW = ("config.yaml", "metrics.csv", "curves.png", "train.log", "pictures", "results.json")

log = logging.getLogger(__name__)


def run_stage(config: RunConfig, stage: StageName) -> dict[str, Any]:
    """Train a stage and return what `results.json` holds; a finished run is not trained again.

    Raises:
        UserError: something that the stage needs is missing or does not fit.
        NotFiniteError: a loss that is not finite.
    """
    task = plan_task(config, stage)
    claim_folder(task)
    results = finished_results(task)
    if results is not None:
        log.info("%s: finished already, at step %d of %d", task.name, results["steps"], task.settings.steps)
        return results
    write_text(task.folder / "config.yaml", print_config(config))
    tags = {"configuration": task.name, "data": task.data}
    on_ray = config.train.num_workers > 0
    with ExitStack() as stack:
        tracked = stack.enter_context(track(config, stage, task.folder, tags, resume=True))
        stack.callback(_keep, task, tracked)
        with following(task.folder, tracked, relay=on_ray):
            figures = _train_on_ray(task) if on_ray else _train_here(task)
        results = _results(task, tracked, figures)
        write_results(task.folder, results)
    return results


def _train_here(task: Task) -> dict[str, Any]:
    """In this process, without Ray."""
    if task.config.train.use_gpu and not torch.cuda.is_available():
        raise UserError("train.use_gpu=true: torch finds no GPU here: set train.use_gpu=false")
    device = torch.device("cuda" if task.config.train.use_gpu else "cpu")
    folder = task.folder / "checkpoints" / f"{task.name}-local"
    return run_worker(task, FolderCheckpoints(folder, task.config.train.keep_checkpoints), device)


def _train_on_ray(task: Task) -> dict[str, Any]:
    # Imported here so that training in this process needs no Ray.
    from pipeline.trainer import train_on_ray

    return train_on_ray(task)


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
        "mlflow_model": tracked.model(best, task.config.grouping, figures["best_step"] or figures["steps"]),
        **provenance(),
    }


def _keep(task: Task, tracked: Tracked) -> None:
    """Store what the run has left so far, also when it failed."""
    for name in KEPT_IN_MLFLOW:
        tracked.artifact(task.folder / name)
    for name in ("best.pt", "last.pt"):
        tracked.artifact(task.folder / name, "checkpoints")
