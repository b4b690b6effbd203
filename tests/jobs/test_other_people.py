"""Drawn people of 3, 12 and 21 joints through the whole path; what they are is said in their files alone."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from hgg.config import ModelConfig
from hgg.model import HGG
from hgg.weights import load_model, save_model
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.predict import run_prediction
from pipeline.data.skeletons import settled
from pipeline.evaluation.evaluate import evaluate_model
from pipeline.metrics.ap import score
from pipeline.settings.config import RunConfig
from pipeline.training.stage import StageName, plan_stage
from tests.cases.evaluation import PerfectModel, make_records, make_samples
from tests.cases.other_people import KINDS, draw_others
from tests.cases.training import start

NETWORK = {"input_size": 128, "stacks": 1, "channels": 8, "increase": 0, "depth": 2, "visual_dim": 4}
STAGE = {"steps": 2, "batch_size": 2, "warmup_steps": 0, "checkpoint_every": 2, "validate_every": 2}


@pytest.fixture(params=KINDS, ids="{} joints".format)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> RunConfig:
    """Settings that do not name the skeleton, with records and samples."""
    draw_others(tmp_path / "data", KINDS[request.param], train=8, val=6, max_people=2)
    config = RunConfig.model_validate(
        {
            "run_root": tmp_path / "run",
            "data": {"root": tmp_path / "data", "views": 1, "sigma": 1.0},
            "network": NETWORK,
            "train": {"num_workers": 0, "validation_images": 2},
            "pretrain": STAGE,
            "joint": STAGE,
            "evaluate": {"runtime_images": 0, "pictures": 2},
        }
    )
    config = settled(config, anew=True)
    assert config.joints.count == request.param
    for split in (config.data.train_split, config.data.val_split):
        make_records(config, split)
        make_samples(config, split)
    return config


def test_the_whole_path(config: RunConfig, tmp_path: Path) -> None:
    stages: tuple[StageName, ...] = ("pretrain", "joint")
    for stage in stages:
        start(plan_stage(config, stage))
    best = config.run_root / "joint" / "best.pt"
    assert load_model(best).config.joints == config.joints
    results = run_evaluation(config)
    assert set(results["ap"]) == {"ae", "hgg", "oracle"}
    rows = json.loads((config.run_root / "evaluate" / "detections_hgg.json").read_text())
    assert all(len(row["keypoints"]) == 3 * config.joints.count for row in rows)
    found = run_prediction(
        RunConfig(),
        sources=[config.data.root / config.data.val_split / "session_0"],
        out=tmp_path / "out",
        checkpoint=best,
        overrides=[],
        explain=True,
        labels=None,
    )
    people = json.loads(Path(found["people_file"]).read_text())
    assert people["categories"][0]["keypoints"] == list(config.joints.names)


def test_a_network_of_other_joints_is_taken_over_but_for_its_heads(config: RunConfig, tmp_path: Path) -> None:
    coco = tmp_path / "coco.pt"
    save_model(coco, HGG(ModelConfig(network=config.network)))
    trained = config.train.model_copy(update={"pretrained": coco})
    run = plan_stage(config.model_copy(update={"train": trained}), "joint")
    start(run)
    said = (run.folder / "train.log").read_text()
    assert (
        f"{coco}: of other joints than the {config.joints.count} of {config.joints.name}: its network" in said
    )
    assert load_model(run.folder / "best.pt").config.joints == config.joints


def test_perfect_maps_are_scored_by_the_skeleton_s_own_constants(config: RunConfig) -> None:
    records = config.run_root / "records" / config.data.val_split
    found = evaluate_model(PerfectModel(config.model, records, sigma=1.0), records, batch_size=2)
    assert found.ap["oracle"]["AP"] > 0.9
    moved = [dict(row) | {"keypoints": _moved(row["keypoints"])} for row in found.detections["oracle"]]
    narrow, wide = (replace(config.joints, sigmas=(s,) * config.joints.count) for s in (0.01, 1.0))
    assert score(found.truth, cast(Any, moved), narrow)["AP"] < 0.1
    assert score(found.truth, cast(Any, moved), wide)["AP"] > 0.9


def _moved(keypoints: Sequence[float]) -> list[float]:
    """Ten pixels to the right."""
    return [value + 10 * (place % 3 == 0) for place, value in enumerate(keypoints)]
