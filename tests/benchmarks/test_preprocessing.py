"""Records to samples of 512 x 512: in one process, in a plain pool, and on Ray Data."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pipeline.data.samples import plan_samples
from pipeline.data.shard_writer import ShardPlan
from pipeline.settings.config import RunConfig
from tests.benchmarks.drawn import draw, drawn_config
from tests.benchmarks.timing import figure

IMAGES, VIEWS, SHARD_IMAGES = 96, 40, 8
WORKERS = 2


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Records of pictures of COCO's size, and the paper's 512 pixels to make of them."""
    config = drawn_config(
        tmp_path_factory.mktemp("preprocessing"),
        synthetic__train_images=IMAGES,
        data__views=VIEWS - 1,
        data__shard_images=SHARD_IMAGES,
    )
    draw(config)
    return config


@pytest.fixture(scope="module")
def stage(config: RunConfig) -> ShardPlan:
    """Samples of those records, to be written."""
    return plan_samples(config, config.data.train_split)


def _views(stage: ShardPlan) -> int:
    return sum(task.units for task in stage.shards)


def test_one_process(benchmark: BenchmarkFixture, stage: ShardPlan) -> None:
    tasks = stage.shards[:2]

    def rate() -> float:
        begun = time.perf_counter()
        for task in tasks:
            stage.write(task)
        return sum(task.units for task in tasks) / (time.perf_counter() - begun)

    work = "samples of 512 x 512, from decoding to the written shard"
    assert figure(benchmark, work, rate, unit="views/s a core", target="60") > 0


def _start() -> None:
    """As a task of Ray has it."""
    cv2.setNumThreads(1)


def _pool_seconds(stage: ShardPlan) -> float:
    with ProcessPoolExecutor(WORKERS, get_context("spawn"), _start) as pool:
        list(pool.map(stage.write, stage.shards[:WORKERS]))  # both processes have loaded what they need
        begun = time.perf_counter()
        list(pool.map(stage.write, stage.shards))
        return time.perf_counter() - begun


def _ray_seconds(stage: ShardPlan) -> float:
    from pipeline.cluster.start import start_ray
    from pipeline.data.on_ray import fan_out

    with start_ray(WORKERS):
        list(fan_out(stage.write, stage.shards[:WORKERS], WORKERS))
        begun = time.perf_counter()
        list(fan_out(stage.write, stage.shards, WORKERS))
        return time.perf_counter() - begun


def test_ray_data_over_a_plain_pool(benchmark: BenchmarkFixture, stage: ShardPlan) -> None:
    seconds = {}

    def overhead() -> float:
        seconds["pool"], seconds["ray"] = _pool_seconds(stage), _ray_seconds(stage)
        return 100 * (seconds["ray"] / seconds["pool"] - 1)

    case = f"{_views(stage)} views, {WORKERS} processes"
    work = "Ray Data's time over a plain process pool's"
    figure(benchmark, work, overhead, unit="%", case=case, target="15")
    benchmark.extra_info |= {f"{name}_seconds": round(value, 2) for name, value in seconds.items()}


@pytest.mark.parametrize("images", [1_000, 50_000])
def test_memory(benchmark: BenchmarkFixture, tmp_path: Path, images: int) -> None:
    """The most that a task of Ray held, over both stages, of images that are as small as can be."""
    from tests.benchmarks.many_images import preprocess_many

    found: dict[str, float] = {}

    def task_mib() -> float:
        found.update(preprocess_many(tmp_path, images))
        return found["task_mib"]

    work = "memory of preprocessing: the most that a task held"
    figure(benchmark, work, task_mib, unit="MiB", case=f"{images:,} images", target="flat")
    benchmark.extra_info |= {name: round(value, 1) for name, value in found.items()}
