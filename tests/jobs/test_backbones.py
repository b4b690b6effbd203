"""Networks on encoders through the whole path: both stages, evaluation, export, prediction."""

import json
from pathlib import Path

import pytest

from hgg.config import NetworkConfig
from hgg.encoders import stages_of
from hgg.weights import load_model
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.export import export_model
from pipeline.commands.predict import run_prediction
from pipeline.settings.config import RunConfig
from pipeline.training.stage import StageName, plan_stage
from tests.cases.encoders import encoder_config, publish
from tests.cases.evaluation import make_records, make_samples, write_coco
from tests.cases.training import start

pytest.importorskip("transformers")

STAGE = {"steps": 2, "batch_size": 2, "warmup_steps": 0, "checkpoint_every": 2, "validate_every": 2}
EFFICIENTNET = "timm/tf_efficientnet_lite0.in1k"


@pytest.fixture(params=["resnet", "convnextv2", EFFICIENTNET])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> RunConfig:
    """Settings of a run whose records and samples are there."""
    if request.param == EFFICIENTNET:
        network = NetworkConfig(
            backbone=EFFICIENTNET, input_size=64, channels=16, visual_dim=4, frozen_stages=1
        )
        try:
            stages_of(EFFICIENTNET, (), 64)
        except ValueError as error:
            pytest.skip(str(error))
    else:
        publish(tmp_path / "published", request.param)
        network = encoder_config(request.param, weights=str(tmp_path / "published"), frozen_stages=1)
    config = RunConfig.model_validate(
        {
            "run_root": tmp_path / "run",
            "data": {"root": tmp_path / "data", "views": 1, "sigma": 1.0},
            "network": network.model_dump(),
            "train": {"num_workers": 0, "validation_images": 2},
            "pretrain": STAGE | {"backbone_lr": 1e-5},
            "joint": STAGE,
            "evaluate": {"runtime_images": 1, "pictures": 1},
        }
    )
    people = [[(20.0, 30.0)], [(100.0, 40.0), (120.0, 50.0)]]
    for split in (config.data.train_split, config.data.val_split):
        write_coco(config.data.root, split, people)
        make_records(config, split)
        make_samples(config, split)
    return config


def test_the_whole_path(config: RunConfig, tmp_path: Path) -> None:
    stages: tuple[StageName, ...] = ("pretrain", "joint")
    for stage in stages:
        run = plan_stage(config, stage)
        assert (run.encoder is not None) == (stage == "pretrain" and bool(config.network.weights))
        start(run)
    best = config.run_root / "joint" / "best.pt"
    assert load_model(best).config == config.model
    assert set(run_evaluation(config)["ap"]) == {"ae", "hgg", "oracle"}
    exported = export_model(config, tmp_path / "exported.pt")
    card = Path(exported["card"]).read_text()
    assert f"encoder {config.network.backbone} (of transformers" in card
    found = run_prediction(
        RunConfig(),
        sources=[config.data.root / config.data.val_split],
        out=tmp_path / "out",
        checkpoint=tmp_path / "exported.pt",
        overrides=[],
        explain=True,
        labels=None,
    )
    assert json.loads(Path(found["people_file"]).read_text())["categories"]
