"""Evaluation from the job's side: the run root's records and model in, result files, pictures and AP out."""

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from hgg.pictures import decode_picture
from hgg.predictor import Predictor
from hgg.suppression import OFF, said
from pipeline.base.files import sha256_file, write_text
from pipeline.base.lock import held
from pipeline.base.memory import keep_freed_memory
from pipeline.base.provenance import Origin, write_results
from pipeline.base.secrets import masked_values
from pipeline.data.shards import data_fingerprint, read_records, records_manifest, stage_folder
from pipeline.data.truth import check_truth
from pipeline.evaluation.by_parts import evaluate_by_parts, gallery_of
from pipeline.evaluation.diagnosis import Part, diagnose, diagnosis_rows, diagnosis_table, sum_fates
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.parts import Plan, load_predictor, plan_evaluation, remove_parts
from pipeline.evaluation.runtime import draw_runtime, measure_runtime, runtime_table
from pipeline.evaluation.trained import model_file
from pipeline.metrics.ap import ap_table
from pipeline.metrics.detections import write_detections
from pipeline.metrics.fates import Fates, fate_table
from pipeline.report.compare import Other, find_other
from pipeline.report.gather import Evaluated
from pipeline.report.page import REPORT, write_report
from pipeline.report.pictures import EXPLAINED
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.load import print_config
from pipeline.tracking.run import RUN_FILE, Tracked, sending, track

log = logging.getLogger(__name__)

SummedFates = Mapping[str, Mapping[str, Fates]]

FATES = (
    "What became of the labelled keypoints. Missing: no candidate. Right: with its person's others. Split: "
    "in a part that broke off. Mixed: in another person's cluster. Background: candidates that are nobody's "
    "joint in the cluster of a person, per labelled keypoint."
)


def run_evaluation(
    config: RunConfig,
    *,
    tags: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    resume: bool = False,
    claimed: bool = False,
    origin: Origin | None = None,
    compare: Path | None = None,
) -> dict[str, Any]:
    """Evaluate the validation split and return what `results.json` holds.

    A killed evaluation goes on by the same command: shards of records that are done are not looked at again,
    also where all are done and only MLflow did not take the figures.

    Under {run_root}/{trial}/evaluate: config.yaml, detections_{grouping}.json (COCO result files),
    diagnosis.md (what lies between the groupings, and their kinds of error, by kind of image), pictures/,
    runtime.png, results.json, report.html (all of it as a page) and explain/ (pages that it points at).

    Args:
        config: settings.
        tags: of the MLflow run, beside those that every evaluation has.
        extra: entries of `results.json` beside those that every evaluation has.
        resume: continue the MLflow run that a killed process left in the folder.
        claimed: whether the process that this one works for holds the folder already.
        origin: command, commit and versions that results name; by default this process's.
        compare: another evaluation that the report shows beside this one: its folder, run root or trial.

    Raises:
        UserError: records, the model or the other evaluation are missing or do not fit, or another
            evaluation is at work in the folder.
    """
    keep_freed_memory()
    folder, checkpoint = config.outputs / "evaluate", model_file(config)
    plan, about = plan_of(config, checkpoint)
    other = find_other(compare, folder) if compare is not None else None
    predictor = load_predictor(plan)
    tags = about | dict(tags or {})
    with (
        nullcontext() if claimed else held(folder, "jobs/evaluate.py"),
        track(
            config, "evaluate", folder, tags, resume=resume or _unsent(folder, plan, about), origin=origin
        ) as tracked,
    ):
        found = evaluate_by_parts(plan, predictor)
        parts, fates = diagnose(found), sum_fates(found)
        _write(folder, config, found, parts, fates)
        gallery_of(plan, predictor, found).draw(folder / "pictures")
        runtime = _runtime(predictor, plan.records, config, folder)
        results = {
            **_figures(found, parts, fates),
            "suppression": config.grouping.suppression,
            "runtime": runtime,
            "report": REPORT,
            **about,
            **(extra or {}),
            "mlflow_run": tracked.run_id,
            **tracked.origin,
        }
        write_results(folder, results)
        log.info("evaluate: report: %s", _report(folder, config, plan, predictor, found, results, other))
        sent = _send(found, runtime, tracked, folder)
        if sent or claimed:
            remove_parts(plan)
        else:
            log.warning(
                "evaluate: done, but MLflow lacks some of it: the same command sends that, from what "
                "was found now, once it answers"
            )
    return results


def shown(results: Mapping[str, Any], *, runtime: bool = True) -> str:
    """Results for a terminal: AP of each grouping and, if wanted and timed, the time of each step."""
    tables = [f"{ap_table(results['ap'])}\n{said(results.get('suppression', OFF))}"]
    if runtime and results["runtime"]:
        tables.append(runtime_table(results["runtime"]))
    return "\n\n".join(tables)


def plan_of(config: RunConfig, checkpoint: Path) -> tuple[Plan, dict[str, str]]:
    """The evaluation of a model as a piece of work, and what it is of: settings, data and model.

    Raises `UserError` where there are no finished records, or no truth beside them.
    """
    records = stage_folder(config.run_root, "records", config.data.val_split)
    check_truth(records, range(len(records_manifest(records).shards)))
    about = {
        "configuration": fingerprint(config),
        "data": data_fingerprint(records),
        "split": config.data.val_split,
        "model": str(checkpoint),
        "model_sha256": sha256_file(checkpoint),
    }
    return plan_evaluation(config, checkpoint, about["model_sha256"], records), about


def _figures(found: Evaluation, parts: list[Part], fates: SummedFates) -> dict[str, Any]:
    """What was found, as `results.json` holds it."""
    return {
        "ap": found.ap,
        "counts": found.counts,
        "diagnosis": diagnosis_rows(parts),
        "fates": {
            grouping: {part: counted._asdict() for part, counted in of_grouping.items()}
            for grouping, of_grouping in fates.items()
        },
    }


def _write(folder: Path, config: RunConfig, found: Evaluation, parts: list[Part], fates: SummedFates) -> None:
    """Settings, result files and diagnosis.md."""
    write_text(folder / "config.yaml", print_config(config))
    for grouping, rows in found.detections.items():
        write_detections(folder / f"detections_{grouping}.json", rows)
    tables = (
        f"{diagnosis_table(parts)}\n{said(config.grouping.suppression)}\n\n{FATES}\n\n{fate_table(fates)}"
    )
    write_text(folder / "diagnosis.md", tables)


def _report(
    folder: Path,
    config: RunConfig,
    plan: Plan,
    predictor: Predictor,
    found: Evaluation,
    results: Mapping[str, Any],
    other: Other | None,
) -> Path:
    """report.html, without the secrets that a result's command may hold."""
    of_found = (found.detections, found.image_ids, found.truth, found.skeleton)
    evaluated = Evaluated(config, model_file(config), masked_values(results), *of_found)
    return write_report(folder, evaluated, plan.records, predictor, other)


def _runtime(predictor: Predictor, records: Path, config: RunConfig, folder: Path) -> dict[str, Any]:
    """Where the time goes on the first images; empty where `evaluate.runtime_images` asks for none."""
    if not config.evaluate.runtime_images:
        return {}
    chosen = islice(read_records(records), config.evaluate.runtime_images)
    images = (decode_picture(record["jpeg"]) for record in chosen)
    runtime = measure_runtime(predictor, images)
    if runtime:
        draw_runtime(runtime, folder / "runtime.png")
    return runtime


def _send(found: Evaluation, runtime: Mapping[str, Any], tracked: Tracked, folder: Path) -> bool:
    """Figures and files into the tracker, `hgg/AP` and so on; whether it took them all."""
    figures = {f"{grouping}/{name}": value for grouping, ap in found.ap.items() for name, value in ap.items()}
    written = [folder / name for name in ("config.yaml", "results.json", "diagnosis.md")]
    with sending(f"figures and files of {folder}"):
        tracked.metrics(figures | found.counts)
        for path in [*written, *sorted(folder.glob("detections_*.json"))]:
            tracked.artifact(path)
        if runtime:
            tracked.artifact(folder / "runtime.png")
        for name in (REPORT, EXPLAINED, "pictures"):
            tracked.artifact(folder / name)
        return True
    return False


def _unsent(folder: Path, plan: Plan, about: Mapping[str, str]) -> bool:
    """Whether this evaluation is done and MLflow lacks some: then what it found and its run are kept."""
    files = [folder / name for name in ("results.json", RUN_FILE)]
    if not all(path.exists() for path in (plan.folder, *files)):
        return False
    results, run = (json.loads(path.read_text(encoding="utf-8")) for path in files)
    this = {**about, "mlflow_run": run["run_id"]}
    return {name: results.get(name) for name in this} == this
