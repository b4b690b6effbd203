"""The whole path with data, run root and MLflow's artifacts in a bucket: preprocess to evaluate."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hgg.weights import load_model
from pipeline.base.files import sha256_file
from pipeline.base.s3 import file_system, stored
from pipeline.settings.load import print_config
from pipeline.training.history import read_history
from tests.cases.evaluation import write_coco
from tests.cases.s3_server import BUCKET, s3_server
from tests.cases.training import tiny_run

SECONDS = 240
PEOPLE = [[(20.0, 30.0)], [(100.0, 40.0), (120.0, 50.0)], [(60.0, 40.0)], [(150.0, 60.0)]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        file_system.cache_clear()
        yield environment
    file_system.cache_clear()


def _run(repository: Path, name: str, *arguments: str, code: int = 0) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, str(repository / "jobs" / f"{name}.py"), *arguments],
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else {}, done.stderr


@pytest.mark.slow
def test_everything_may_be_in_a_bucket(tmp_path: Path, repository: Path, server: dict[str, str]) -> None:
    data, runs = stored(f"s3://{BUCKET}/coco"), stored(f"s3://{BUCKET}/runs/a")
    for split in ("train2017", "val2017"):
        write_coco(tmp_path / "coco", split, PEOPLE)
    for path in (tmp_path / "coco").rglob("*.*"):
        (data / str(path.relative_to(tmp_path / "coco"))).write_bytes(path.read_bytes())
    config = tiny_run(tmp_path / "here", num_workers=1, cpus_per_worker=0.5)
    config = config.model_copy(
        update={
            "run_root": runs,
            "data": config.data.model_copy(update={"root": data, "shard_images": 2, "row_group": 2}),
            "tracking": config.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/mlflow.db"}),
        }
    )
    (tmp_path / "config.yaml").write_text(print_config(config))
    arguments = ("--config", str(tmp_path / "config.yaml"))

    said = ""
    results = {}
    for job in ("preprocess", "pretrain", "train_joint", "evaluate"):
        results[job], stderr = _run(repository, job, *arguments)
        said += stderr
    assert all(" INFO " in line for line in said.splitlines()), said
    assert results["preprocess"]["splits"]["train2017"]["samples"]["counts"]["rows"] == 4 * 5
    assert results["train_joint"]["best"] == f"s3://{BUCKET}/runs/a/joint/best.pt"
    assert results["evaluate"]["model_sha256"] == sha256_file(runs / "joint" / "best.pt")
    assert load_model(runs / "joint" / "best.pt").config == config.model
    assert [row["step"] for row in read_history(runs / "joint" / "metrics.csv")] == [2, 4, 6]
    kept = {str(path.relative_to(runs)) for path in runs.rglob("*")}
    assert {"evaluate/detections_hgg.json", "joint/curves.png", "pretrain/train.log"} <= kept
    assert any(path.startswith("mlartifacts/") and path.endswith("MLmodel") for path in kept)

    again, stderr = _run(repository, "preprocess", *arguments)
    stages = [stage for split in again["splits"].values() for stage in split.values()]
    assert [stage["shards_written"] for stage in stages] == [0, 0, 0, 0]
    again, stderr = _run(repository, "train_joint", *arguments)
    assert "finished already, at step 6 of 6" in stderr
    assert again == results["train_joint"]

    secret = server["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [path for path in runs.rglob("*") if secret in path.read_bytes()]
    assert secret not in (tmp_path / "mlflow.db").read_bytes()
    assert secret.decode() not in said


def test_a_store_that_refuses_is_one_line(tmp_path: Path, repository: Path, server: dict[str, str]) -> None:
    del server
    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    arguments = (f"run_root=s3://{BUCKET}/a", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    for job in ("pretrain", "evaluate"):
        _, stderr = _run(repository, job, *arguments, code=2 if job == "pretrain" else 1)
        assert stderr.count("\n") == 1, stderr
        assert stderr.startswith("error: ")
        assert "AWS Error NETWORK_CONNECTION" in stderr
