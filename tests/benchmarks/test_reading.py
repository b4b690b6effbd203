"""Samples into batches: how many a second, and how much dearer it would be to make each view afresh."""

import time
from itertools import cycle

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from hgg import transform as geometry
from hgg.targets import encode_heatmaps
from pipeline.base.seeds import view_rng
from pipeline.commands.benchmark import samples_per_second
from pipeline.data.encode import random_transform, to_labels
from pipeline.data.pictures import decode_picture
from pipeline.data.shards import read_records, stage_folder
from pipeline.settings.config import RunConfig
from tests.benchmarks.drawn import draw_samples, drawn_config
from tests.benchmarks.timing import figure

SECONDS = 5.0
READ = {192: "1000", 512: "250"}


@pytest.fixture(scope="module", params=READ, ids=lambda size: f"{size} x {size}")
def config(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> RunConfig:
    """Samples of pictures of COCO's size."""
    config = drawn_config(
        tmp_path_factory.mktemp("reading"),
        network__input_size=request.param,
        synthetic__train_images=32,
        data__views=3,
        data__sigma=request.param / 256,
        pretrain__batch_size=16,
    )
    draw_samples(config)
    return config


def _fresh_per_second(config: RunConfig) -> float:
    """Views made of records for one use: decoded, drawn from, warped, their targets encoded."""
    folder = stage_folder(config.run_root, "records", config.data.train_split)
    records = cycle(list(read_records(folder)))
    network, data = config.network, config.data
    made, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < SECONDS:
        record = next(records)
        rng = view_rng(data.seed, record["image_id"], made)
        picture = decode_picture(record["jpeg"])
        transform = random_transform(record["width"], record["height"], network.input_size, rng, data)
        geometry.warp(picture, transform, network.input_size)
        labels = to_labels(record, transform, network.output_size)
        encode_heatmaps(labels.joints, network.output_size, data.sigma)
        made += 1
    return made / passed


def test_samples_into_batches(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    size = config.network.input_size
    figure(
        benchmark, "samples read into batches", lambda: samples_per_second(config, SECONDS),
        unit="samples/s a core", case=f"{size} x {size}", target=READ[size],
    )  # fmt: skip


def test_samples_beside_fresh_views(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    size = config.network.input_size
    figure(
        benchmark, "samples read, for each view that is made afresh in the time",
        lambda: samples_per_second(config, SECONDS) / _fresh_per_second(config),
        unit="times", case=f"{size} x {size}", target="5",
    )  # fmt: skip
