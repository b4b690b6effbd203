"""An MLflow server that goes away: training goes on, and what it could not take arrives later, in order."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.settings.config import RunConfig
from pipeline.settings.load import print_config
from pipeline.training.history import read_history
from tests.cases.mlflow_server import SECONDS, Server
from tests.cases.training import tiny_run

LOG_EVERY = 20
LONG, SHORT = 3000, 1000  # steps: one must outlast the start of a server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def _config(root: Path, uri: str, steps: int) -> RunConfig:
    config = tiny_run(root, validation_images=0)
    often = {"steps": steps, "log_every": LOG_EVERY, "checkpoint_every": 1000, "validate_every": steps}
    return config.model_copy(
        update={
            "pretrain": config.pretrain.model_copy(update=often),
            "tracking": config.tracking.model_copy(update={"uri": uri}),
        }
    )


@contextmanager
def _job(config: RunConfig, root: Path, repository: Path) -> Iterator["subprocess.Popen[str]"]:
    (root / "config.yaml").write_text(print_config(config))
    job = subprocess.Popen(
        [sys.executable, str(repository / "jobs" / "pretrain.py"), "--config", str(root / "config.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        yield job
    finally:
        job.kill()
        job.communicate()


@contextmanager
def _job_without_its_server(
    server: Server, config: RunConfig, root: Path, repository: Path
) -> Iterator["subprocess.Popen[str]"]:
    """A job that goes on after its server has taken some rows and gone."""
    with _job(config, root, repository) as job:
        _wait_for_rows(config, 4)
        server.stop()
        yield job


def _wait_for_rows(config: RunConfig, rows: int) -> None:
    history = config.run_root / "pretrain" / "metrics.csv"
    deadline = time.monotonic() + SECONDS
    while not history.exists() or len(read_history(history)) < rows:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _finish(job: "subprocess.Popen[str]") -> tuple[dict[str, Any], str]:
    out, err = job.communicate(timeout=SECONDS)
    assert job.returncode == 0, err
    return json.loads(out.splitlines()[-1]), err


def _assert_all_arrived(config: RunConfig, results: dict[str, Any]) -> None:
    client = MlflowClient(tracking_uri=config.tracking.uri)
    rows = read_history(config.run_root / "pretrain" / "metrics.csv")
    assert len(rows) == config.pretrain.steps // LOG_EVERY
    points = client.get_metric_history(results["mlflow_run"], "loss")
    assert [(point.step, point.value) for point in points] == [(row["step"], row["loss"]) for row in rows]
    assert client.get_run(results["mlflow_run"]).info.status == "FINISHED"
    assert results["mlflow_model"].startswith("models:/")
    assert "best.pt" in str(
        [file.path for file in client.list_artifacts(results["mlflow_run"], "checkpoints")]
    )


@pytest.mark.slow
def test_what_a_server_missed_arrives_when_it_is_back(
    server: Server, tmp_path: Path, repository: Path
) -> None:
    config = _config(tmp_path, server.uri, LONG)
    with _job_without_its_server(server, config, tmp_path, repository) as job:
        _wait_for_rows(config, 25)
        server.start()
        results, err = _finish(job)
    assert "metrics do not reach MLflow" in err
    _assert_all_arrived(config, results)


@pytest.mark.slow
def test_without_a_server_the_job_ends_well_and_the_same_command_sends_the_rest(
    server: Server, tmp_path: Path, repository: Path
) -> None:
    config = _config(tmp_path, server.uri, SHORT)
    with _job_without_its_server(server, config, tmp_path, repository) as job:
        results, err = _finish(job)
    assert results["steps"] == SHORT
    assert results["mlflow_model"] is None
    assert "MLflow lacks some of it: the same command sends that once it answers" in err
    assert "Traceback" not in err
    server.start()
    with _job(config, tmp_path, repository) as job:
        results, err = _finish(job)
    assert f"finished already, at step {SHORT}" in err
    _assert_all_arrived(config, results)
    assert json.loads((config.run_root / "pretrain" / "results.json").read_text()) == results
