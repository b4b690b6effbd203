"""jobs/predict.py by workers of Ray: the bytes of one process, whoever is killed; from and to a bucket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hgg.pictures import encode_jpeg
from hgg.weights import save_model
from pipeline.base.s3 import file_system, stored
from tests.cases.core import tiny_model
from tests.cases.s3_server import BUCKET, s3_server

SECONDS = 240
ALONE = ("predict.pictures=false", "predict.min_score=0", "predict.shard_images=20")
TWO = ("predict.num_workers=2", "train.cpus_per_worker=0.5", *ALONE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, tiny_model(candidates={"threshold": 0.02}))
    return path


def _draw(folder: Path, number: int) -> Path:
    """Noisy pictures, and one that is none."""
    folder.mkdir()
    for each in range(number):
        noise = np.random.default_rng(each).integers(0, 256, (3, 4, 3), np.uint8)
        picture = noise.repeat(16, axis=0).repeat(16, axis=1)
        (folder / f"{each:05d}.jpg").write_bytes(encode_jpeg(picture, 90))
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


def _command(repository: Path, model: Path, source: Path | str, out: Path | str, *more: str) -> list[str]:
    job = [sys.executable, str(repository / "jobs" / "predict.py")]
    return [*job, str(source), "--model", str(model), "--out", str(out), *more]


def _run(*command: str) -> dict[str, Any]:
    """What a job counts. On one thread, as each worker is: by more of them a last digit may be another."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=one_thread)
    assert done.returncode == 0, done.stderr
    bad = [line for line in done.stderr.splitlines() if " INFO " not in line and "bad.jpg" not in line]
    assert not bad, bad
    return json.loads(done.stdout.splitlines()[-1])


def _workers(pid: int) -> Iterator[psutil.Process]:
    for process in psutil.Process(pid).children(recursive=True):
        if "_Worker" in " ".join(process.cmdline()):
            yield process


@pytest.mark.slow
def test_a_killed_worker_does_not_show(tmp_path: Path, repository: Path, model: Path) -> None:
    source = _draw(tmp_path / "photos", 400)
    alone = _run(*_command(repository, model, source, tmp_path / "alone", *ALONE))
    assert alone["people"] > 400
    command = _command(repository, model, source, tmp_path / "out", *TWO)
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + SECONDS
        while len([*(tmp_path / "out").rglob("part-*.json")]) < 2:
            assert job.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        next(_workers(job.pid)).send_signal(signal.SIGKILL)
        stdout, stderr = job.communicate(timeout=SECONDS)
    finally:
        job.kill()
    assert job.returncode == 0, stderr
    assert json.loads(stdout.splitlines()[-1])["people"] == alone["people"]
    for name in ("people.json", "rejected.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
def test_a_killed_job_goes_on_where_it_was(tmp_path: Path, repository: Path, model: Path) -> None:
    source = _draw(tmp_path / "photos", 300)
    command = _command(repository, model, source, tmp_path / "out", *TWO)
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started: list[psutil.Process] = []
    try:
        end = time.monotonic() + SECONDS
        while len(kept := sorted((tmp_path / "out").rglob("part-*.json"))) < 3:
            assert job.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        started = psutil.Process(job.pid).children(recursive=True)
    finally:
        job.kill()
        job.wait()
    times = {path: path.stat().st_mtime_ns for path in kept}
    psutil.wait_procs(started, timeout=90)  # Ray's own, which notice
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert "of 16 shards are there already" in done.stderr
    assert times
    alone = _run(*_command(repository, model, source, tmp_path / "alone", *ALONE))
    assert alone["images"] == 300
    people = (tmp_path / "out" / "people.json").read_bytes()
    assert people == (tmp_path / "alone" / "people.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["people.json", "rejected.jsonl"]


@pytest.mark.slow
def test_from_and_to_a_bucket(tmp_path: Path, repository: Path, model: Path) -> None:
    source = _draw(tmp_path / "photos", 50)
    with s3_server(tmp_path) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        file_system.cache_clear()
        bucket = stored(f"s3://{BUCKET}/photos")
        for path in source.iterdir():
            (bucket / path.name).write_bytes(path.read_bytes())
        here = _run(*_command(repository, model, source, tmp_path / "out", *ALONE))
        there = _run(*_command(repository, model, bucket, f"s3://{BUCKET}/out", *TWO))
        assert there["people"] == here["people"]
        people = stored(f"s3://{BUCKET}/out/people.json").read_bytes()
        assert people == (tmp_path / "out" / "people.json").read_bytes()
        left = [path.name for path in stored(f"s3://{BUCKET}/out").rglob("*")]
        assert sorted(left) == ["people.json", "rejected.jsonl"]
    file_system.cache_clear()


@pytest.mark.slow
def test_the_memory_of_3000_images_is_that_of_300(tmp_path: Path, repository: Path, model: Path) -> None:
    """Of the process that asks for them; workers hold one batch."""
    peaks = []
    for number in (300, 3000):
        source = _draw(tmp_path / str(number), number)
        job = subprocess.Popen(
            _command(repository, model, source, tmp_path / f"out{number}", *TWO),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
        assert job.returncode == 0
        assert len(json.loads((tmp_path / f"out{number}" / "people.json").read_text())["images"]) == number
        peaks.append(used.ru_maxrss / 1024)
    assert peaks[1] - peaks[0] < 60, peaks
