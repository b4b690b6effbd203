"""SIGTERM of a training: one line, exit code 143, nothing left running, and the same command goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.settings.load import print_config
from tests.cases.training import tiny_run

SECONDS = 240
STEPS = 100_000  # more than there is time for


def _start(root: Path, repository: Path, **options: float) -> "subprocess.Popen[str]":
    config = tiny_run(root, validation_images=0, **options)
    often = {"steps": STEPS, "log_every": 20, "checkpoint_every": 40, "validate_every": STEPS}
    config = config.model_copy(update={"pretrain": config.pretrain.model_copy(update=often)})
    (root / "config.yaml").write_text(print_config(config))
    return subprocess.Popen(
        [sys.executable, str(repository / "jobs" / "pretrain.py"), "--config", str(root / "config.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _terminated(job: "subprocess.Popen[str]", root: Path) -> str:
    """Its log, where SIGTERM came after it had logged more rows of steps than were there."""
    log = root / "run" / "pretrain" / "train.log"
    before = log.read_text().count("loss") if log.exists() else 0
    deadline = time.monotonic() + SECONDS
    while not log.exists() or log.read_text().count("loss") < before + 4:
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started = psutil.Process(job.pid).children(recursive=True)
    job.terminate()
    out, err = job.communicate(timeout=60)
    assert job.returncode == 143, err
    assert out == ""
    assert err.endswith("\nstopped by SIGTERM; the same command goes on\n")
    lines = err.splitlines()[:-1]
    assert all(" INFO " in line for line in lines), err
    _, running = psutil.wait_procs(started, timeout=30)
    assert running == []
    return err


def _stopped_twice(root: Path, repository: Path, **options: float) -> None:
    with _start(root, repository, **options) as job:
        try:
            assert "starting at step 0" in _terminated(job, root)
        finally:
            job.kill()
    with _start(root, repository, **options) as job:
        try:
            said = _terminated(job, root)
        finally:
            job.kill()
    step = int(said.partition("resuming at step ")[2].split()[0])
    assert step >= 40


@pytest.mark.slow
def test_training_in_the_process_itself(tmp_path: Path, repository: Path) -> None:
    _stopped_twice(tmp_path, repository, num_workers=0)


@pytest.mark.slow
def test_training_on_ray(tmp_path: Path, repository: Path) -> None:
    _stopped_twice(tmp_path, repository, num_workers=1, cpus_per_worker=0.5)
