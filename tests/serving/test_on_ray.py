"""The endpoint on real Ray Serve: as a process, with a replica that dies, with another model in its place."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests

import hgg
from hgg.pictures import encode_jpeg
from hgg.weights import save_model
from pipeline.cluster.start import start_ray
from pipeline.prediction.model_plan import ModelPlan
from pipeline.serving.on_ray import Endpoint
from pipeline.settings.config import RunConfig
from tests.cases.asking import JPEG, SECONDS, Asking, address_of
from tests.cases.core import tiny_model


def _save(path: Path, seed: int) -> Path:
    save_model(path, tiny_model(seed, candidates={"threshold": 0.02}))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("model") / "first.pt", 0)


@pytest.fixture(scope="module")
def picture() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return encode_jpeg(noise.repeat(16, axis=0).repeat(16, axis=1), 90)


def _config(**serve: Any) -> RunConfig:
    values = {"serve": {"port": 0, "batch_size": 4, **serve}, "train": {"cpus_per_worker": 0.5}}
    return RunConfig.model_validate(values)


def _plan(config: RunConfig, file: Path) -> ModelPlan:
    return ModelPlan(file, tiny_model(candidates={"threshold": 0.02}).config, config.inference, config.train)


@pytest.mark.slow
def test_another_model_is_taken_over_without_a_request_lost(
    tmp_path: Path, model: Path, picture: bytes
) -> None:
    config = _config()
    second = _save(tmp_path / "second.pt", 1)
    with start_ray(2), Endpoint(config, "") as endpoint:
        endpoint.show(_plan(config, model), "first")
        with Asking(endpoint.address, picture) as asking:
            asking.wait(lambda: len(asking.answers) > 8)
            endpoint.show(_plan(config, second), "second")
            asking.until("second")
    assert {status for status, _, _ in asking.answers} == {200}
    said = {(name, text) for _, name, text in asking.answers}
    assert sorted(name for name, _ in said) == ["first", "second"]  # each says one thing
    assert asking.answers[-1][1] == "second"


@pytest.mark.slow
def test_a_replica_that_dies_costs_no_answer(model: Path, picture: bytes) -> None:
    config = _config(replicas=2)
    with start_ray(2), Endpoint(config, "") as endpoint:
        endpoint.show(_plan(config, model), "first")
        with Asking(endpoint.address, picture) as asking:
            asking.wait(lambda: len(asking.answers) > 8)
            next(_replicas()).send_signal(signal.SIGKILL)
            more = len(asking.answers) + 30
            asking.wait(lambda: len(asking.answers) > more)
    statuses = [status for status, _, _ in asking.answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(503) <= 4, statuses  # what was at work at it, were it not asked of the other
    assert len({text for status, _, text in asking.answers if status == 200}) == 1


def _replicas() -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        if "ServeReplica:hgg:Model" in " ".join(process.cmdline()):
            yield process


@pytest.mark.slow
def test_the_command_answers_what_the_three_lines_say_and_ends_in_order(
    repository: Path, model: Path, picture: bytes, tmp_path: Path
) -> None:
    command = [sys.executable, str(repository / "jobs" / "serve.py"), "--model", str(model), "--port", "0"]
    with (tmp_path / "log").open("w") as log_file:
        job = subprocess.Popen(
            [*command, "train.cpus_per_worker=0.5", "serve.max_requests=8"],
            stdout=subprocess.PIPE, stderr=log_file, text=True,
        )  # fmt: skip
    try:
        address = address_of(tmp_path / "log", job)
        told = requests.get(f"{address}readyz", timeout=SECONDS).json()
        assert told == {"status": "ready", "model": "first.pt"}
        answer = requests.post(f"{address}v1/people", data=picture, headers=JPEG, timeout=SECONDS)
        (tmp_path / "picture").write_bytes(picture)
        here = hgg.load(model, device="cpu")(tmp_path / "picture").to_coco()
        assert answer.json() == json.loads(json.dumps(here))
        page = requests.post(f"{address}v1/explain", data=picture, headers=JPEG, timeout=SECONDS)
        assert "Grouping explained" in page.text
        with Asking(address, picture, clients=30) as asking:  # more than may be at work
            asking.wait(lambda: len(asking.answers) > 100)
        statuses = {status for status, _, _ in asking.answers}
        assert statuses == {200, 503}
        assert len({text for status, _, text in asking.answers if status == 200}) == 1
    finally:
        job.send_signal(signal.SIGTERM)
        stdout, _ = job.communicate(timeout=SECONDS)
    assert job.returncode == 143
    assert stdout == ""
    log = (tmp_path / "log").read_text().splitlines()
    assert log[-1].startswith("stopped by SIGTERM")
    assert all(" INFO " in line for line in log[:-1]), log
