"""A training stage from the job's side: checked, named, tracked, trained here or on Ray, summed up."""

import logging
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from pipeline.base.files import write_text
from pipeline.base.lock import held
from pipeline.base.memory import peak_mib
from pipeline.base.provenance import Origin, write_results
from pipeline.commands.relay import Relay, relaying
from pipeline.commands.start import check_start
from pipeline.settings.config import RunConfig
from pipeline.settings.load import print_config
from pipeline.tracking.run import Tracked, sending, track
from pipeline.training.history import read_history
from pipeline.training.stage import StageName, StageRun, claim_folder, finished_results, plan_stage
from pipeline.training.train import train_stage

JOBS: dict[StageName, str] = {"pretrain": "jobs/pretrain.py", "joint": "jobs/train_joint.py"}
KEPT_IN_MLFLOW = ("config.yaml", "metrics.csv", "curves.png", "train.log", "pictures", "results.json")

log = logging.getLogger(__name__)


def run_stage(
    config: RunConfig, stage: StageName, origin: Origin | None = None, *, claimed: bool = False
) -> dict[str, Any]:
    """Train a stage and return what `results.json` holds; a finished run is not trained again.

    Args:
        config: settings.
        stage: pretrain or joint.
        origin: command, commit and versions that results name; by default this process's.
        claimed: whether the process that this one works for holds the folder already.

    Raises:
        UserError: something that the stage needs is missing or does not fit, or another job is at work in
            the stage's folder.
        NotFiniteError: a loss that is not finite.
    """
    check_start(config)
    run = plan_stage(config, stage)
    if stage == "pretrain" and config.train.pretrained:
        log.info(
            "train.pretrained=%s is what joint training starts from: pretraining begins anew",
            config.train.pretrained,
        )
    with nullcontext() if claimed else held(run.folder, JOBS[stage]):
        return _run(run, origin)


def _run(run: StageRun, origin: Origin | None) -> dict[str, Any]:
    """Train, go on, or find it done, in a folder that no other job writes to."""
    config = run.config
    claim_folder(run)
    results = finished_results(run)
    if results is not None:
        log.info("%s: finished already, at step %d of %d", run.name, results["steps"], run.settings.steps)
        results |= _models(run)  # the run root may have been moved since
        return results if results["mlflow_model"] else _send_again(run, results, origin)
    write_text(run.folder / "config.yaml", print_config(config))
    on_ray = config.train.num_workers > 0
    with ExitStack() as stack:
        tracked = stack.enter_context(_tracked(run, origin))
        stack.callback(_keep, run, tracked)
        with relaying(run.folder, tracked, show=on_ray):
            figures = train_stage(run)
        results = _results(run, tracked, figures)
        write_results(run.folder, results)
    if not results["mlflow_model"]:
        log.warning(
            "%s: done, but MLflow lacks some of it: the same command sends that once it answers", run.name
        )
    return results


def _tracked(run: StageRun, origin: Origin | None) -> AbstractContextManager[Tracked]:
    """The stage's MLflow run, continued where there is one."""
    tags = {"configuration": run.name, "data": run.data}
    return track(run.config, run.stage, run.folder, tags, resume=True, origin=origin)


def _send_again(run: StageRun, results: dict[str, Any], origin: Origin | None) -> dict[str, Any]:
    """Send what a finished run could not: figures, files and the model."""
    with _tracked(run, origin) as tracked:
        Relay(run.folder, tracked, show=False).poll()
        results = results | {
            "mlflow_run": tracked.run_id,
            "mlflow_model": _send_model(run, tracked, results),
        }
        write_results(run.folder, results)
        _keep(run, tracked)
    return results


def _results(run: StageRun, tracked: Tracked, figures: dict[str, Any]) -> dict[str, Any]:
    """Everything about a finished run, its model in MLflow included."""
    log.info("%s: storing the best model in MLflow", run.name)
    return {
        "run": run.name,
        "data": run.data,
        **figures,
        "driver_peak_mib": int(peak_mib()),
        **_models(run),
        "mlflow_run": tracked.run_id,
        "mlflow_model": _send_model(run, tracked, figures),
        **tracked.origin,
    }


def _models(run: StageRun) -> dict[str, str]:
    """Where the run's models lie."""
    return {"best": str(run.folder / "best.pt"), "latest": str(run.folder / "last.pt")}


def _send_model(run: StageRun, tracked: Tracked, figures: dict[str, Any]) -> str | None:
    """The model's URI, or None where the store did not take it, or lacks metrics that came before it."""
    with sending("the best model"):
        last = read_history(run.folder / "metrics.csv")[-1:]
        if last and tracked.last_step("loss") < (last[0]["step"] or 0):
            log.warning("not sent to MLflow: the last rows of %s", run.folder / "metrics.csv")
            return None
        return tracked.model(
            run.folder / "best.pt", run.config.model, figures["best_step"] or figures["steps"]
        )
    return None


def _keep(run: StageRun, tracked: Tracked) -> None:
    """Store what the run has left so far, also when it failed."""
    with sending(f"files of {run.folder}"):
        for name in KEPT_IN_MLFLOW:
            tracked.artifact(run.folder / name)
        for name in ("best.pt", "last.pt"):
            tracked.artifact(run.folder / name, "checkpoints")
