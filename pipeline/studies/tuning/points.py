"""What a sweep searches: settings and their ranges, the first points, and the training of a point."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hgg.config import LossConfig
from hgg.settings import Decides
from pipeline.base.errors import UserError
from pipeline.data.shards import records_manifest, stage_folder
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import described_groups, fingerprint
from pipeline.studies.moved import made_elsewhere, placed_as
from pipeline.training.stage import StageRun, plan_stage

FOLDER = "tune"  # under the run root
WEIGHTS = ("push", "pull", "edge", "macro")
# By the name of its range in `tune`: the group of settings that it belongs to.
SEARCHED = dict.fromkeys(WEIGHTS, "loss") | {"lr": "joint", "grouping_lr": "joint", "cut": "grouping"}

log = logging.getLogger(__name__)

Point = dict[str, float]
"""A value for each of `SEARCHED`."""


def own_point(base: RunConfig) -> Point:
    """The configuration's own values."""
    return {name: float(getattr(getattr(base, group), name)) for name, group in SEARCHED.items()}


def paper_point(base: RunConfig) -> Point:
    """The paper's weights of the losses (the defaults of `LossConfig`), and the base's other values."""
    paper = LossConfig()
    return own_point(base) | {name: float(getattr(paper, name)) for name in WEIGHTS}


def first_points(base: RunConfig) -> list[Point]:
    """The points that every sweep begins with: the paper's weights, then the configuration's own.

    Raises `UserError` where one lies outside of what is searched.
    """
    points = [paper_point(base)]
    if own_point(base) != points[0]:
        points.append(own_point(base))
    for name, group in SEARCHED.items():
        low, high = getattr(base.tune, name)
        outside = [point[name] for point in points if not low <= point[name] <= high]
        if outside:
            raise UserError(
                f"tune.{name}=[{low:g}, {high:g}]: does not hold {group}.{name}={outside[0]:g}, with which a "
                "sweep begins: widen the range"
            )
    return points[: base.tune.trials]


def point_config(base: RunConfig, point: Mapping[str, float], seed: int | None = None) -> RunConfig:
    """Settings of `point_run`."""
    return point_run(base, point, seed).config


def point_run(base: RunConfig, point: Mapping[str, float], seed: int | None = None) -> StageRun:
    """The joint training of a point, in a folder of its own that its settings name.

    It is scored on all images held out, and kept at every score, so that a trial goes on where it was scored.

    Raises `UserError` where samples, records or the pretrained network are missing.
    """
    scored = base.train.model_copy(
        update={
            "held_out": base.tune.held_out,
            "validation_images": _most_images(base),
            "seed": base.train.seed if seed is None else seed,
        }
    )
    config = with_point(base, point).model_copy(update={"train": scored})
    config = _changed(config, "joint", {"checkpoint_every": config.joint.validate_every})
    run = plan_stage(config, "joint")
    # The name does not depend on the folder.
    return run._replace(config=config.model_copy(update={"trial": f"{FOLDER}/{run.name}"}))


def with_point(base: RunConfig, point: Mapping[str, float]) -> RunConfig:
    """The base with a point's values."""
    for name, group in SEARCHED.items():
        base = _changed(base, group, {name: float(point[name])})
    return base


def sweep_name(base: RunConfig) -> str:
    """Fingerprint of everything that a sweep depends on: the same name is the same sweep."""
    return _name(base, plan_stage(base, "joint").data)


def sweep_folder(base: RunConfig) -> Path:
    """Where the sweep is kept: below its name, or that which it had before the run root was moved."""
    own = base.run_root / FOLDER / sweep_name(base)
    if own.exists():
        return own
    data = plan_stage(base, "joint").data
    for path, then in made_elsewhere(base.run_root, f"{FOLDER}/*/config.yaml"):
        if _name(placed_as(base, then), data) == path.parent.name:
            log.info("tune: %s: this sweep was begun when its run root was %s", path.parent, then.run_root)
            return path.parent
    return own


def rungs(base: RunConfig) -> list[int]:
    """Steps after which ASHA lets some trials go on only."""
    first, most = base.joint.validate_every, base.joint.steps
    count = math.floor(math.log(max(1.0, (most - 1) / first), base.tune.reduction)) + 1
    steps = [round(first * base.tune.reduction**rung) for rung in range(count)]
    return [step for step in steps if step < most]


def _name(base: RunConfig, data: str) -> str:
    settings = described_groups(base, but=Decides.EVALUATION | Decides.PICTURES)
    return fingerprint({"settings": settings, "data": data})


def _most_images(base: RunConfig) -> int:
    """Not fewer than are held out, whatever the share."""
    records = stage_folder(base.run_root, "records", base.data.train_split)
    return max(1, sum(row["rows"] for row in records_manifest(records).shards))


def _changed(config: RunConfig, group: str, values: Mapping[str, Any]) -> RunConfig:
    return config.model_copy(update={group: getattr(config, group).model_copy(update=values)})
