"""What a report shows, as plain values, from what an evaluation found and from what is beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools.coco import COCO

from hgg.skeleton import Skeleton
from pipeline.metrics.detections import Detection
from pipeline.report.calibration import Calibration, calibrate
from pipeline.report.compare import Comparison, Other, compare
from pipeline.report.images import ImageFigures, best_and_worst, image_figures
from pipeline.report.joints import JointFigures, joint_figures
from pipeline.report.matching import match
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.load import changed, without_secrets
from pipeline.training.history import read_history
from pipeline.training.loop import Row


class Evaluated(NamedTuple):
    """A finished evaluation."""

    config: RunConfig
    """Its settings."""
    model: Path
    """The file that was evaluated."""
    results: Mapping[str, Any]
    """Of results.json."""
    detections: Mapping[str, Sequence[Detection]]
    """By grouping, rows of a COCO result file."""
    image_ids: Sequence[int]
    """Images that were looked at, in the records' order."""
    truth: COCO
    """What AP was computed from."""
    skeleton: Skeleton


class Report(NamedTuple):
    """What a report shows, without its pictures."""

    name: str
    results: Mapping[str, Any]
    settings: list[tuple[str, Any, Any]]
    """Dotted key, value and default of each setting that differs from its default."""
    joints: dict[str, list[JointFigures]]
    """By grouping, in the skeleton's order."""
    joint_names: Sequence[str]
    calibration: dict[str, Calibration]
    """By grouping."""
    curves: dict[str, list[Row]]
    """By stage, rows of its metrics.csv; stages of which there is none are missing."""
    images: list[ImageFigures]
    """Those with people."""
    best: list[ImageFigures]
    worst: list[ImageFigures]
    comparison: Comparison | None


def gather(evaluated: Evaluated, pictures: int, other: Other | None = None) -> Report:
    """Everything that a report shows but its pictures.

    Args:
        evaluated: the evaluation.
        pictures: how many of the best images, and how many of the worst.
        other: what it is compared with.

    Raises `UserError` where files of the other one are damaged.
    """
    config, results, skeleton = evaluated.config, evaluated.results, evaluated.skeleton
    matched = {
        grouping: match(evaluated.truth, rows, skeleton, evaluated.image_ids)
        for grouping, rows in evaluated.detections.items()
    }
    images = image_figures(matched)
    best, worst = best_and_worst(images, pictures)
    comparison = None
    if other is not None:
        values = flat(without_secrets(config).model_dump(mode="json"))
        comparison = compare(results, values, other, images, evaluated.truth, skeleton)
    return Report(
        name=config.trial or config.run_root.name,
        results=results,
        settings=_changed(config),
        joints={name: joint_figures(each.values(), skeleton) for name, each in matched.items()},
        joint_names=[joint.replace("_", " ") for joint in skeleton.names],
        calibration={name: calibrate(each.values()) for name, each in matched.items()},
        curves=_curves(config, evaluated.model),
        images=images,
        best=best,
        worst=worst,
        comparison=comparison,
    )


def _changed(config: RunConfig) -> list[tuple[str, Any, Any]]:
    defaults = flat(RunConfig().model_dump(mode="json"))
    return [(key, value, defaults.get(key)) for key, value in changed(config).items()]


def _curves(config: RunConfig, model: Path) -> dict[str, list[Row]]:
    """The training that a model is from: what is beside its file, and beside what that began with.

    A file that was handed on has no training beside it, and neither has what another network began with.
    """
    joint = read_history(model.parent / "metrics.csv")
    began = config.train.pretrained or config.run_root / "pretrain" / "best.pt"
    pretrain = read_history(began.parent / "metrics.csv") if joint else []
    return {name: rows for name, rows in (("pretrain", pretrain), ("joint", joint)) if rows}
