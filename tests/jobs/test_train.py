"""One real run on Ray Train with two workers: killed in the middle, started again, started once more."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hgg.weights import load_model
from pipeline.settings.config import RunConfig
from pipeline.settings.load import print_config
from pipeline.tracking.store import store_uri
from pipeline.training.checkpoint import FolderCheckpoints
from pipeline.training.history import read_history
from pipeline.training.stage import plan_stage
from pipeline.training.worker import run_worker
from tests.cases.training import tiny_run

SECONDS = 240
STEPS, LOG_EVERY = 80, 10


def command(config_file: Path, repository: Path) -> list[str]:
    return [sys.executable, str(repository / "jobs" / "pretrain.py"), "--config", str(config_file)]


def finish(arguments: list[str], folder: Path) -> tuple[dict[str, Any], str]:
    """Run a job to its end; its results and what it wrote to stderr."""
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def kill_after_a_checkpoint(arguments: list[str], folder: Path, snapshot: Path) -> None:
    """Start a job, and end it with SIGKILL as soon as Ray has committed a checkpoint."""
    with (folder / "first.log").open("w") as log:
        job = subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + SECONDS
            while not snapshot.exists():
                assert job.poll() is None, (folder / "first.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            job.kill()
            job.wait()


def losses_without_ray(config: RunConfig, folder: Path) -> list[float]:
    """The same run in this process."""
    import torch

    stage = plan_stage(config, "pretrain")
    stage.folder.mkdir()
    run_worker(stage, FolderCheckpoints(folder, keep=1), torch.device("cpu"))
    return [row["loss"] or 0.0 for row in read_history(stage.folder / "metrics.csv")]


@pytest.mark.slow
def test_two_workers_are_killed_moved_go_on_and_agree_with_one_process(
    tmp_path: Path, repository: Path
) -> None:
    config = tiny_run(tmp_path, num_workers=2, cpus_per_worker=0.5, validation_images=2)
    often = {"steps": STEPS, "log_every": LOG_EVERY, "checkpoint_every": 5, "validate_every": 40}
    config = config.model_copy(update={"pretrain": config.pretrain.model_copy(update=often)})
    (tmp_path / "config.yaml").write_text(print_config(config))
    arguments = command(tmp_path / "config.yaml", repository)
    stage = plan_stage(config, "pretrain")
    storage = stage.folder / "checkpoints" / stage.name
    kill_after_a_checkpoint(arguments, tmp_path, storage / "checkpoint_manager_snapshot.json")
    assert not (stage.folder / "results.json").exists()
    config = config.model_copy(update={"run_root": tmp_path / "another place"})
    stage.config.run_root.rename(config.run_root)
    (tmp_path / "config.yaml").write_text(print_config(config))
    stage = plan_stage(config, "pretrain")
    storage = stage.folder / "checkpoints" / stage.name

    results, stderr = finish(arguments, tmp_path)
    assert f"{stage.name}: resuming at step " in stderr
    assert " of 80, 2 processes" in stderr
    assert stderr.count(f"step {STEPS}/{STEPS}") == 1
    assert results["steps"] == STEPS
    assert results["workers"] == 2
    assert results == json.loads((stage.folder / "results.json").read_text())
    assert load_model(stage.folder / "best.pt").config == config.model
    rows = read_history(stage.folder / "metrics.csv")
    assert [row["step"] for row in rows] == list(range(LOG_EVERY, STEPS + 1, LOG_EVERY))
    assert len([path for path in storage.iterdir() if path.is_dir()]) == config.train.keep_checkpoints

    client = MlflowClient(tracking_uri=store_uri(config))
    points = client.get_metric_history(results["mlflow_run"], "loss")
    assert [(point.step, point.value) for point in points] == [(row["step"], row["loss"]) for row in rows]
    run = client.get_run(results["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["configuration"] == stage.name
    stored = {file.path for file in client.list_artifacts(results["mlflow_run"])}
    assert stored >= {"curves.png", "metrics.csv", "config.yaml", "pictures", "checkpoints", "results.json"}

    begun = time.monotonic()
    again, stderr = finish(arguments, tmp_path)
    assert again == results
    assert f"finished already, at step {STEPS} of {STEPS}" in stderr
    assert time.monotonic() - begun < 30

    alone = tiny_run(tmp_path / "alone", validation_images=0)
    alone = alone.model_copy(update={"pretrain": config.pretrain})
    losses = losses_without_ray(alone, tmp_path / "checkpoints")
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-3)
