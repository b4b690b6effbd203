"""Samples into batches: how many a second by how many threads, and how much dearer fresh views would be.

Also what is left of reading for the training thread, and how long it waits where a step is only its data.
"""

import time
from itertools import cycle
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from hgg import transform as geometry
from hgg.config import ModelConfig
from hgg.objective import Objective, Terms
from hgg.pictures import decode_picture
from hgg.targets import Targets, encode_heatmaps
from pipeline.base.memory import keep_freed_memory
from pipeline.base.seeds import view_rng
from pipeline.batches.loader import AHEAD, training_batches
from pipeline.batches.reader import SampleReader
from pipeline.commands.benchmark import samples_per_second
from pipeline.data.encode import random_transform, to_labels
from pipeline.data.shards import read_records, stage_folder
from pipeline.settings.config import RunConfig
from pipeline.training.loop import Row, Training, TrainingProgress, train
from tests.benchmarks.drawn import draw_samples, drawn_config, repeat_samples
from tests.benchmarks.timing import figure

SECONDS, TURNS = 3.0, 3
READ = {192: "1000", 320: "", 512: "250"}  # targets, by one core
SAMPLES_REPEATED = 16  # 2048 of them: a lane has several row groups in an epoch, as in a large data set
THREADS = (0, 1, 2)


@pytest.fixture(scope="module", params=READ, ids=lambda size: f"{size} x {size}")
def config(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> RunConfig:
    """Samples of pictures of COCO's size."""
    keep_freed_memory()  # as every rank of training does
    config = drawn_config(
        tmp_path_factory.mktemp("reading"),
        network__input_size=request.param,
        synthetic__train_images=32,
        data__views=3,
        data__sigma=request.param / 256,
        pretrain__batch_size=64,
    )
    draw_samples(config)
    repeat_samples(config, SAMPLES_REPEATED)
    return config


def by_threads(config: RunConfig, threads: int) -> RunConfig:
    """The settings with so many threads."""
    return config.model_copy(update={"train": config.train.model_copy(update={"loader_workers": threads})})


def reader_of(config: RunConfig) -> SampleReader:
    """That of the first stage, in one process."""
    folder = stage_folder(config.run_root, "samples", config.data.train_split)
    return SampleReader(folder, config.pretrain.batch_size)


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


@pytest.mark.parametrize("threads", THREADS)
def test_samples_into_batches(benchmark: BenchmarkFixture, config: RunConfig, threads: int) -> None:
    size = config.network.input_size
    who = f"{threads} threads" if threads != 1 else "1 thread"
    figure(
        benchmark, "samples/s by threads (0: the training thread itself)",
        lambda: samples_per_second(by_threads(config, threads), SECONDS),
        unit="samples/s", case=f"{size} x {size}, {who}", target="" if threads else READ[size],
    )  # fmt: skip


def test_two_threads_beside_one(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    size, rates = config.network.input_size, {1: 0.0, 2: 0.0}

    def ratio() -> float:
        for _ in range(TURNS):  # in turn, since a shared machine's speed changes
            for threads in rates:
                rates[threads] += samples_per_second(by_threads(config, threads), SECONDS / 2) / TURNS
        return rates[2] / rates[1]

    figure(
        benchmark, "samples/s of two threads over one", ratio,
        unit="times", case=f"{size} x {size}", target="1.7",
    )  # fmt: skip


def test_what_is_left_for_the_training_thread(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    """Asking for a batch that is ready: planning, handing out work, padding people."""
    stream = training_batches(reader_of(config), 2)

    def milliseconds() -> float:
        batch = next(stream)
        passed = []
        for _ in range(4 * AHEAD):
            time.sleep(8 * batch.images.nbytes / 1e9)  # long enough for the threads to be ahead again
            begun = time.perf_counter()
            batch = next(stream)
            passed.append(1000 * (time.perf_counter() - begun))
        return median(passed)

    size = config.network.input_size
    figure(
        benchmark, "what the training thread does for a batch of 64 that threads have decoded", milliseconds,
        unit="ms", case=f"{size} x {size}", target="5" if size == 320 else "",
    )  # fmt: skip
    stream.close()


class Nothing(nn.Module):
    """Stands for an objective whose network costs next to nothing, so that a step is its data."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.model = SimpleNamespace(config=ModelConfig())

    def forward(self, images: Tensor, targets: Targets, teacher_share: float, bf16: bool) -> Terms:
        """Terms that depend on the images' first pixel."""
        return Terms(*(self.weight * images[:, 0, 0, 0].mean() for _ in Terms._fields))


@pytest.mark.parametrize("threads", THREADS)
def test_waiting_share_beside_nothing(benchmark: BenchmarkFixture, config: RunConfig, threads: int) -> None:
    """Of steps that mirror and convert a batch and train one weight."""
    nothing, rows = cast(Any, Nothing()), list[Row]()
    stream = training_batches(reader_of(config), threads)
    steps = max(4, int(600 * (192 / config.network.input_size) ** 2 / 10))

    def share() -> float:
        next(stream)
        training = Training(
            cast(Objective, nothing),
            torch.optim.SGD([{"params": list(nothing.parameters()), "base_lr": 0.0}]),
            None,
            TrainingProgress(),
        )
        stage = config.pretrain.model_copy(update={"steps": steps, "log_every": steps, "warmup_steps": 0})
        train(
            training, nothing, stream, stage, config.train.model_copy(update={"colour": 0.0}),
            validate=lambda: None, report=rows.append, save=lambda _: None,
        )  # fmt: skip
        return 100 * cast(float, rows[-1]["waiting"])

    size = config.network.input_size
    who = f"{threads} threads" if threads != 1 else "1 thread"
    figure(
        benchmark, "waiting for data in a training step whose network costs next to nothing", share,
        unit="%", case=f"{size} x {size}, {who}",
    )  # fmt: skip
    stream.close()


def test_samples_beside_fresh_views(benchmark: BenchmarkFixture, config: RunConfig) -> None:
    size = config.network.input_size
    figure(
        benchmark, "samples read, for each view that is made afresh in the time",
        lambda: samples_per_second(config, SECONDS) / _fresh_per_second(config),
        unit="times", case=f"{size} x {size}", target="5",
    )  # fmt: skip
