"""The endpoint on real Ray Serve: as a process, with a replica that dies, with another model in its place."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
from tests.cases.core import tiny_model

SECONDS = 120
JPEG = {"Content-Type": "image/jpeg"}


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


class _Asking:
    """Clients that ask one after another until they are told to stop."""

    def __init__(self, address: str, picture: bytes, clients: int = 4) -> None:
        self.address, self.picture = address, picture
        self.answers: list[tuple[int, str, str]] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "_Asking":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(SECONDS)

    def _ask(self) -> None:
        while not self.stop.is_set():
            url = f"{self.address}v1/people?min_score=0"
            answer = requests.post(url, data=self.picture, headers=JPEG, timeout=SECONDS)
            self.answers.append((answer.status_code, answer.headers.get("X-Model", ""), answer.text))

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not until():
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.slow
def test_another_model_is_taken_over_without_a_request_lost(
    tmp_path: Path, model: Path, picture: bytes
) -> None:
    config = _config()
    second = _save(tmp_path / "second.pt", 1)
    with start_ray(2), Endpoint(config, "") as endpoint:
        endpoint.show(_plan(config, model), "first")
        with _Asking(endpoint.address, picture) as asking:
            asking.wait(lambda: len(asking.answers) > 8)
            endpoint.show(_plan(config, second), "second")
            asking.wait(lambda: any(name == "second" for _, name, _ in asking.answers))
            more = len(asking.answers) + 8
            asking.wait(lambda: len(asking.answers) > more)
    assert {status for status, _, _ in asking.answers} == {200}
    said = {(name, text) for _, name, text in asking.answers}
    assert sorted(name for name, _ in said) == ["first", "second"]  # each says one thing
    assert asking.answers[-1][1] == "second"


@pytest.mark.slow
def test_a_replica_that_dies_costs_no_answer(model: Path, picture: bytes) -> None:
    config = _config(replicas=2)
    with start_ray(2), Endpoint(config, "") as endpoint:
        endpoint.show(_plan(config, model), "first")
        with _Asking(endpoint.address, picture) as asking:
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
        address = _address(tmp_path / "log", job)
        told = requests.get(f"{address}readyz", timeout=SECONDS).json()
        assert told == {"status": "ready", "model": "first.pt"}
        answer = requests.post(f"{address}v1/people", data=picture, headers=JPEG, timeout=SECONDS)
        (tmp_path / "picture").write_bytes(picture)
        here = hgg.load(model, device="cpu")(tmp_path / "picture").to_coco()
        assert answer.json() == json.loads(json.dumps(here))
        page = requests.post(f"{address}v1/explain", data=picture, headers=JPEG, timeout=SECONDS)
        assert "Grouping explained" in page.text
        with _Asking(address, picture, clients=30) as asking:  # more than may be at work
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


def _address(log: Path, job: subprocess.Popen[str]) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
        if found and "Ctrl-C" in log.read_text():
            return found[0]
        assert job.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())
