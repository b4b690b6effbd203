"""Two jobs in one folder of a run root: the second is refused in one line, before it writes anything."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hgg.model import HGG
from hgg.weights import save_model
from pipeline.base.errors import UserError
from pipeline.base.lock import LOCK, held
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.preprocess import run_preprocess
from pipeline.commands.train import run_stage
from pipeline.settings.config import RunConfig
from pipeline.settings.load import print_config
from pipeline.training.history import read_history
from tests.cases.training import tiny_run

SECONDS = 240
STEPS = 60


@pytest.mark.parametrize(
    ("folder", "job", "run"),
    [
        ("pretrain", "jobs/pretrain.py", lambda config: run_stage(config, "pretrain")),
        ("some/trial/joint", "jobs/train_joint.py", lambda config: run_stage(config, "joint")),
        ("some/trial/evaluate", "jobs/evaluate.py", run_evaluation),
        ("preprocess", "jobs/preprocess.py", run_preprocess),
    ],
)
def test_the_second_job_is_refused(
    tmp_path: Path, folder: str, job: str, run: Callable[[RunConfig], dict[str, Any]]
) -> None:
    model = tmp_path / "model.pt"
    config = tiny_run(tmp_path, pretrained=model).model_copy(update={"trial": "some/trial"})
    config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"checkpoint": model})})
    save_model(model, HGG(config.model))
    place = config.run_root / folder
    with held(place, job):
        with pytest.raises(UserError, match=f"{place}: {job} is at work there, process "):
            run(config)
        assert [path.name for path in place.iterdir()] == [LOCK]
    assert not (config.run_root / "mlflow.db").exists()


def _job(tmp_path: Path, repository: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, str(repository / "jobs" / "pretrain.py")]
    return subprocess.Popen(
        [*command, "--config", str(tmp_path / "config.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_each_step_is_trained_once_although_the_job_is_started_twice(
    tmp_path: Path, repository: Path
) -> None:
    config = tiny_run(tmp_path, validation_images=0)
    often = {"steps": STEPS, "log_every": 2, "validate_every": STEPS, "checkpoint_every": 2}
    config = config.model_copy(update={"pretrain": config.pretrain.model_copy(update=often)})
    (tmp_path / "config.yaml").write_text(print_config(config))
    history = config.run_root / "pretrain" / "metrics.csv"
    first = _job(tmp_path, repository)
    try:
        deadline = time.monotonic() + SECONDS
        while not history.exists():
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # so that it is at work for as long as this takes
        second = _job(tmp_path, repository)
        out, err = second.communicate(timeout=SECONDS)
        assert (second.returncode, out, err.count("\n")) == (2, "", 1), err
        assert f"jobs/pretrain.py is at work there, process {first.pid} on " in err
        first.kill()
        first.communicate()
        left = history.with_name(".0123456789ab.metrics.csv")  # as a kill leaves it
        left.write_text("step\n")
        again = _job(tmp_path, repository)
        out, err = again.communicate(timeout=SECONDS)
        assert again.returncode == 0, err
        assert "ended without giving it free; it is taken over" in err
        assert not left.exists()
    finally:
        first.kill()
        first.communicate()
    assert json.loads(out.splitlines()[-1])["steps"] == STEPS
    assert [row["step"] for row in read_history(history)] == [*range(2, STEPS + 1, 2)]
    assert not (history.parent / LOCK).exists()
