"""Training steps of conf/small.yaml's network on drawn people: joint over pretraining, two ranks over one.

The weights are those of docs/models: an untrained network would find candidates everywhere.
"""

import shutil
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pipeline.commands.benchmark import (
    joint_images_per_second,
    pretrain_images_per_second,
    samples_per_second,
)
from pipeline.settings.config import RunConfig
from tests.benchmarks.drawn import REPOSITORY, SMALL, draw_samples, drawn_config
from tests.benchmarks.ranks import images_per_second
from tests.benchmarks.timing import figure

SECONDS, TURNS = 8.0, 3
PRETRAINED = REPOSITORY / "docs" / "models" / "small_pretrained.pt"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Samples, and the pretrained network where joint training looks for it."""
    root = tmp_path_factory.mktemp("steps")
    config = drawn_config(
        root, SMALL, synthetic__train_images=64, data__views=1, joint__batch_size=8, pretrain__batch_size=8
    )
    draw_samples(config)
    (config.run_root / "pretrain").mkdir(parents=True)
    shutil.copy(PRETRAINED, config.run_root / "pretrain" / "best.pt")
    return config


def test_joint_beside_pretraining(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    rates: dict[str, float] = {"pretrain": 0.0, "joint": 0.0}

    def ratio() -> float:
        for _ in range(TURNS):  # in turn, since a shared machine's speed changes
            rates["pretrain"] += pretrain_images_per_second(config, SECONDS) / TURNS
            rates["joint"] += (joint_images_per_second(config, SECONDS) or 0.0) / TURNS
        return rates["pretrain"] / rates["joint"]

    figure(benchmark, "time of a joint step over a pretraining step", ratio, unit="times", target="1.25")
    benchmark.extra_info |= {f"{name}_images_per_second": round(rate, 2) for name, rate in rates.items()}


def test_waiting_for_data(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    def share() -> float:
        read, trained = samples_per_second(config, SECONDS), pretrain_images_per_second(config, SECONDS)
        return 100 * (1 / read) / (1 / read + 1 / trained)

    work = "share of a pretraining step that reading its samples takes, in the same process"
    figure(benchmark, work, share, unit="%", target="2")


def test_two_ranks_beside_one(benchmark: BenchmarkFixture, config: RunConfig, tmp_path: Path) -> None:
    rates: dict[int, float] = {}

    def speed_up() -> float:
        for ranks in (1, 2):
            folder = tmp_path / str(ranks)
            folder.mkdir()
            rates[ranks] = images_per_second(config, PRETRAINED, ranks, folder)
        return rates[2] / rates[1]

    figure(
        benchmark, "images/s of two DDP ranks over one, one thread each", speed_up, unit="times", target="1.6"
    )
    benchmark.extra_info |= {f"images_per_second_{ranks}": round(rate, 2) for ranks, rate in rates.items()}
