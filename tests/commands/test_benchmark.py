"""The benchmark measures every part on the data of a run root, and joint training once there is a model."""

import importlib.util
import json
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

from hgg.model import HGG
from hgg.weights import save_model
from pipeline.base.errors import UserError
from pipeline.base.provenance import REPOSITORY
from pipeline.settings.config import RunConfig
from pipeline.synthetic.dataset import make_dataset
from tests.cases.evaluation import make_records, make_samples

FIGURES = ("views_per_second", "samples_per_second", "pretrain_images_per_second", "joint_images_per_second")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Four pictures, their records and samples, and a network that is as small as can be."""
    folder = tmp_path_factory.mktemp("benchmark")
    config = RunConfig.model_validate(
        {
            "run_root": folder / "run",
            "data": {"root": folder / "data", "views": 1, "sigma": 1.0},
            "network": {
                "input_size": 64,
                "stacks": 1,
                "channels": 8,
                "increase": 8,
                "depth": 2,
                "visual_dim": 4,
            },
            "candidates": {"per_type": 2, "max_total": 16},
            "train": {"num_workers": 0},
            "pretrain": {"batch_size": 2},
            "joint": {"batch_size": 2},
            "synthetic": {"train_images": 4, "val_images": 1, "empty_share": 0.0},
        }
    )
    make_dataset(config.data.root, "train2017", "val2017", config.synthetic)
    make_records(config, "train2017")
    make_samples(config, "train2017")
    return config


@pytest.fixture
def job() -> ModuleType:
    path = REPOSITORY / "jobs" / "benchmark.py"
    spec = importlib.util.spec_from_file_location("benchmark_job", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_part_is_measured(config: RunConfig, job: ModuleType) -> None:
    before = job.main(config, Namespace(seconds=0.2))
    assert all(before[name] > 0 for name in FIGURES[:3])
    assert before["joint_images_per_second"] is None
    (config.run_root / "pretrain").mkdir()
    save_model(config.run_root / "pretrain" / "best.pt", HGG(config.model))
    after = job.main(config, Namespace(seconds=0.2))
    assert all(after[name] > 0 for name in FIGURES)
    assert json.loads((config.run_root / "benchmark" / "results.json").read_text()) == after
    assert [p.name for p in config.run_root.iterdir() if p.name == "mlflow.db"] == []


def test_what_cannot_be_measured_is_a_user_error(config: RunConfig, job: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be above 0"):
        job.main(config, Namespace(seconds=0.0))
    elsewhere = config.model_copy(update={"run_root": tmp_path})
    with pytest.raises(UserError, match=r"run jobs/preprocess\.py"):
        job.main(elsewhere, Namespace(seconds=0.1))
    assert not list(tmp_path.iterdir())
