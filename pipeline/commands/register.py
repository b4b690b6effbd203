"""The evaluated model as a version in MLflow's registry, and the champion if it is better."""

import time
from typing import Any

from pipeline.base.errors import UserError
from pipeline.evaluation.card import registered_card, results_of
from pipeline.evaluation.trained import model_file
from pipeline.settings.config import RunConfig
from pipeline.settings.paths import REGISTERED
from pipeline.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    WEIGHTS,
    Version,
    artifact_page,
    champion,
    judge,
    log_version,
    settle,
)
from pipeline.tracking.run import track
from pipeline.tracking.store import open_store


def register(config: RunConfig, run: str | None, *, dry_run: bool) -> dict[str, Any]:
    """Make the evaluated model a version of `tracking.model`, and the champion if it is better.

    Args:
        config: as evaluation had it.
        run: id of the evaluation's MLflow run; None takes the run root's own.
        dry_run: only say what would happen.

    Raises:
        UserError: no evaluation of the model, or not that run's.
    """
    source = model_file(config)
    results = results_of(config, source)
    if run not in (None, results["mlflow_run"]):
        folder = config.outputs / "evaluate"
        raise UserError(
            f"--run={run}: the evaluation in {folder} is of run {results['mlflow_run']}: "
            "give that one, or the configuration whose evaluation is meant"
        )
    name, ap, data = config.tracking.model, results["ap"]["hgg"]["AP"], results["data"]
    client = open_store(config)
    new = Version(0, ap, data, int(time.time() * 1000))
    if dry_run:
        verdict, _ = judge(new, champion(client, name))
        return {"model": name, "version": None, "ap": ap, "verdict": verdict}
    report = artifact_page(client, results["mlflow_run"], results.get("report", ""))
    card = registered_card(name, source, results, report)
    weights = config.outputs / "register" / WEIGHTS
    with track(
        config, "register", weights.parent, {"data": data, "evaluation": results["mlflow_run"]}
    ) as tracked:
        number = log_version(tracked, config, source, results, weights, card)
        verdict, better = settle(client, name, number)
        tracked.metrics({"hgg/AP": ap})
    return {
        "model": name,
        "version": number,
        "uri": f"{REGISTERED}{name}/{number}",
        "alias": CHAMPION if better else CHALLENGER,
        "ap": ap,
        "data": data,
        "verdict": verdict,
        "mlflow_run": tracked.run_id,
    }
