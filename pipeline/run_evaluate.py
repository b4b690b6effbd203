"""Evaluation from the job's side: the run root's records and model in, result files, pictures and AP out."""

from collections.abc import Mapping
from typing import Any

import torch

from pipeline.coco import annotation_file
from pipeline.command import UserError, provenance, write_results
from pipeline.config import RunConfig
from pipeline.detections import write_detections
from pipeline.diagnosis import diagnose, diagnosis_rows, diagnosis_table
from pipeline.evaluate import Evaluation, evaluate_model
from pipeline.files import sha256_file, write_text
from pipeline.pictures import Gallery
from pipeline.settings import fingerprint, print_config
from pipeline.shards import data_fingerprint, stage_folder
from pipeline.tracking import Tracked, track
from pipeline.trained import model_file, trained_model


def run_evaluation(
    config: RunConfig, *, tags: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Evaluate the validation split and return what `results.json` holds.

    Under {run_root}/{trial}/evaluate: config.yaml, detections_{grouping}.json (COCO result files),
    diagnosis.md (what lies between the groupings, by kind of image), pictures/ and results.json.

    Args:
        config: settings.
        tags: of the MLflow run, beside those that every evaluation has. Where there are some, an MLflow run
            that a killed process left in the folder is continued.
        extra: entries of `results.json` beside those that every evaluation has.

    Raises:
        UserError: records, annotations or the model are missing or do not fit.
    """
    split, folder = config.data.val_split, config.outputs / "evaluate"
    checkpoint = model_file(config)
    annotations = annotation_file(config.data.root, split)
    if not annotations.is_file():
        raise UserError(f"{annotations}: no such file: correct data.root or data.val_split")
    records = stage_folder(config.run_root, "records", split)
    origin = {
        "configuration": fingerprint(config),
        "data": data_fingerprint(records),
        "split": split,
        "model": str(checkpoint),
        "model_sha256": sha256_file(checkpoint),
    }
    model = trained_model(checkpoint, config.model, config.train.use_gpu)
    gallery = Gallery(config.evaluate.pictures)
    torch.manual_seed(config.evaluate.seed)
    with track(config, "evaluate", folder, origin | dict(tags or {}), resume=bool(tags)) as tracked:
        found = evaluate_model(
            model,
            records,
            annotations,
            batch_size=config.evaluate.batch_size,
            limit=config.evaluate.images,
            gallery=gallery,
        )
        write_text(folder / "config.yaml", print_config(config))
        for grouping, rows in found.detections.items():
            write_detections(folder / f"detections_{grouping}.json", rows)
        parts = diagnose(found)
        write_text(folder / "diagnosis.md", diagnosis_table(parts))
        gallery.draw(folder / "pictures")
        results = {
            "ap": found.ap,
            "counts": found.counts,
            "diagnosis": diagnosis_rows(parts),
            **origin,
            **(extra or {}),
            "mlflow_run": tracked.run_id,
            **provenance(),
        }
        write_results(folder, results)
        _keep(found, tracked, config)
    return results


def _keep(found: Evaluation, tracked: Tracked, config: RunConfig) -> None:
    """Figures and files into the tracker: `hgg/AP` and so on."""
    figures = {f"{grouping}/{name}": value for grouping, ap in found.ap.items() for name, value in ap.items()}
    tracked.metrics(figures | found.counts)
    folder = config.outputs / "evaluate"
    written = [folder / name for name in ("config.yaml", "results.json", "diagnosis.md")]
    for path in [*written, *sorted(folder.glob("detections_*.json"))]:
        tracked.artifact(path)
    tracked.artifact(folder / "pictures")
