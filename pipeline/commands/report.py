"""The report of a finished evaluation, written anew from what that left, alone or beside another one's."""

import logging
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError, first_line
from pipeline.base.lock import held
from pipeline.commands.evaluate import plan_of
from pipeline.evaluation.card import results_of
from pipeline.evaluation.evaluate import scope_of
from pipeline.evaluation.parts import Plan, load_predictor, plan_evaluation
from pipeline.evaluation.trained import model_file
from pipeline.metrics.detections import Detection, read_detections
from pipeline.report.compare import find_other
from pipeline.report.gather import Evaluated
from pipeline.report.page import write_report
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config

log = logging.getLogger(__name__)

AGAIN = "run jobs/evaluate.py with these settings first"


def run_report(config: RunConfig, compare: Path | None = None) -> dict[str, Any]:
    """Write {run_root}/{trial}/evaluate/report.html anew; returns its place and that of the other evaluation.

    Only the pictures that are shown are looked at once more. MLflow keeps the report that evaluation wrote.

    Args:
        config: as evaluation had it, but for what changes no figure, as evaluate.report_pictures.
        compare: another evaluation that is shown beside this one: its folder, run root or trial.

    Raises:
        UserError: no evaluation of this model on these records with these settings, or no other one.
    """
    folder, checkpoint = config.outputs / "evaluate", model_file(config)
    results = results_of(config, checkpoint)
    plan, about = plan_of(config, checkpoint)
    if results["data"] != about["data"]:
        raise UserError(
            f"{folder}/results.json: of records with the fingerprint {results['data']}, those of "
            f"{plan.records} have {about['data']}: {AGAIN}"
        )
    evaluated = _read(config, plan, checkpoint, results)
    other = find_other(compare, folder) if compare is not None else None
    with held(folder, "jobs/report.py"):
        written = write_report(folder, evaluated, plan.records, load_predictor(plan), other)
    log.info("report: %s", written)
    return {"report": str(written), "compared_with": None if other is None else str(other.folder)}


def _read(config: RunConfig, plan: Plan, checkpoint: Path, results: dict[str, Any]) -> Evaluated:
    """The evaluation that the folder of a run root or trial holds."""
    folder = config.outputs / "evaluate"
    kept = load_config([folder / "config.yaml"])
    if (
        plan_evaluation(kept, checkpoint, results["model_sha256"], plan.records).folder.name
        != plan.folder.name
    ):
        raise UserError(f"{folder}/config.yaml: the evaluation had other settings than these: {AGAIN}")
    scope = scope_of(plan.records, config.joints, config.evaluate.images)
    images = sum(portion.images for portion in scope.portions)
    shown = {"report_pictures": config.evaluate.report_pictures}
    return Evaluated(
        kept.model_copy(update={"evaluate": kept.evaluate.model_copy(update=shown)}),
        checkpoint,
        results,
        {name: _people(folder / f"detections_{name}.json") for name in results["ap"]},
        [image["id"] for image in scope.truth.dataset["images"][:images]],
        scope.truth,
        scope.skeleton,
    )


def _people(file: Path) -> list[Detection]:
    try:
        return read_detections(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{first_line(error)}: {AGAIN}") from error
