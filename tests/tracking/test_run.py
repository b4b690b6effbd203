"""Real MLflow on one SQLite file: runs, what reaches them, and the model that is loaded elsewhere."""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from mlflow import MlflowClient

from hgg.config import GroupingConfig, ModelConfig
from hgg.model import HGG
from hgg.predictor import Predictor
from hgg.weights import load_model, save_model
from pipeline.base.errors import UserError
from pipeline.commands.relay import Relay
from pipeline.settings.config import RunConfig, TrackingConfig
from pipeline.tracking.run import SERVED_NEEDS, served_needs, track
from pipeline.tracking.store import store_uri
from pipeline.training.history import COLUMNS, add_to_history, begin_history
from tests.cases.training import MODEL

# MLflow warns itself of its own types when its models are imported, and hides that in its own way.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

TAGS = {"configuration": "pretrain-123456789abc", "data": "0123456789ab"}


class Store(NamedTuple):
    """A run root whose SQLite store has been made, which takes seconds."""

    config: RunConfig
    client: MlflowClient


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    config = RunConfig(run_root=tmp_path_factory.mktemp("root"))
    with track(config, "first", config.run_root / "first", {}):
        pass
    return Store(config, MlflowClient(tracking_uri=store_uri(config)))


def test_a_run_has_parameters_tags_metrics_and_artifacts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["hgg pretrain", "--config", "conf/demo.yaml", "pretrain.lr=2e-4"])
    (tmp_path / "curves.png").write_bytes(b"a picture")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(b"another")
    with track(store.config, "pretrain", tmp_path, TAGS) as tracked:
        tracked.metrics({"loss": 0.5, "ap": None}, 10)
        tracked.metrics({"loss": 0.25, "ap": 0.75}, 20)
        for name in ("curves.png", "pictures", "absent.png"):
            tracked.artifact(tmp_path / name)
    run = store.client.get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "pretrain"
    assert run.data.params["pretrain.lr"] == "0.0002"
    assert len(run.data.params) > 60
    assert run.data.tags["configuration"] == TAGS["configuration"]
    assert run.data.tags["data"] == TAGS["data"]
    assert run.data.tags["commit"]
    assert run.data.tags["command"] == "hgg pretrain --config conf/demo.yaml pretrain.lr=2e-4"
    points = store.client.get_metric_history(tracked.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(10, 0.5), (20, 0.25)]
    assert [point.step for point in store.client.get_metric_history(tracked.run_id, "ap")] == [20]
    assert {file.path for file in store.client.list_artifacts(tracked.run_id)} == {"curves.png", "pictures"}
    kept = store.config.run_root / "mlartifacts"
    assert len(list(kept.rglob("1.png"))) == 1


def test_a_resumed_job_continues_its_run_and_another_does_not(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), track(store.config, "joint", tmp_path, TAGS, resume=True) as first:
        first.metrics({"loss": 1.0}, 5)
        raise RuntimeError
    assert store.client.get_run(first.run_id).info.status == "FAILED"
    other = RunConfig(run_root=store.config.run_root, joint=store.config.joint.model_copy(update={"lr": 1.0}))
    with track(other, "joint", tmp_path, TAGS, resume=True) as second:
        assert second.run_id == first.run_id
        assert second.last_step("loss") == 5
        assert second.last_step("never") == 0
    run = store.client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["joint.lr"] == "0.0002"  # what it began with
    with track(store.config, "joint", tmp_path, TAGS) as third:
        assert third.run_id != first.run_id


def test_a_run_that_is_gone_is_replaced(store: Store, tmp_path: Path) -> None:
    known = {"uri": store_uri(store.config), "run_id": "0" * 32}
    (tmp_path / "mlflow.json").write_text(json.dumps(known))
    with track(store.config, "joint", tmp_path, TAGS, resume=True) as tracked:
        assert tracked.run_id != known["run_id"]


def test_a_run_that_was_deleted_is_replaced(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with track(store.config, "joint", tmp_path, TAGS) as first:
        pass
    store.client.delete_run(first.run_id)
    with track(store.config, "joint", tmp_path, TAGS, resume=True) as second:
        assert second.run_id != first.run_id
    assert f"its MLflow run {first.run_id} was deleted; beginning another one" in caplog.text


def test_a_store_that_does_not_answer_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    wrong = RunConfig(run_root=tmp_path, tracking=TrackingConfig(uri="http://127.0.0.1:9"))
    with (
        pytest.raises(UserError, match=r"tracking\.uri=http://127\.0\.0\.1:9: .*; start that server"),
        track(wrong, "pretrain", tmp_path, TAGS),
    ):
        pass
    assert not (tmp_path / "mlflow.json").exists()


def test_rows_and_lines_are_followed_once(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, lines = tmp_path / "metrics.csv", tmp_path / "train.log"
    lines.write_text("of an earlier start\n")
    row: dict[str, float | None] = dict.fromkeys(COLUMNS, 0.5)
    begin_history(history, 0)
    with track(store.config, "pretrain", tmp_path, TAGS) as tracked:
        relay = Relay(tmp_path, tracked, show=True)
        for step in (2, 4):
            add_to_history(history, row | {"step": step})
        lines.write_text(lines.read_text() + "step 2\nstep 4 is not yet wh")
        relay.poll()
        lines.write_text(lines.read_text() + "ole\n")
        begin_history(history, 2)  # workers were restarted: step 4 is made again
        add_to_history(history, row | {"step": 4, "loss": 7.0})
        add_to_history(history, row | {"step": 6, "ap": None})
        relay.poll()
        relay.poll()
    points = store.client.get_metric_history(tracked.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(2, 0.5), (4, 0.5), (6, 0.5)]
    assert "seconds_left" not in store.client.get_run(tracked.run_id).data.metrics
    assert capsys.readouterr().err == "step 2\nstep 4 is not yet whole\n"


LOAD_ELSEWHERE = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
assert importlib.util.find_spec("hgg") is None and importlib.util.find_spec("pipeline") is None
import mlflow.pyfunc, numpy, warnings
warnings.simplefilter("error")
model = mlflow.pyfunc.load_model(sys.argv[2])
people = model.predict(numpy.load(sys.argv[3]))
assert "hgg" in sys.modules and not {"ray", "pipeline"} & sys.modules.keys()
print(json.dumps(people))
"""


@pytest.mark.slow
def test_the_model_predicts_where_this_project_is_not_installed(store: Store, tmp_path: Path) -> None:
    # So low that an untrained model finds people.
    candidates = MODEL.candidates.model_copy(update={"threshold": 0.0})
    save_model(tmp_path / "best.pt", HGG(MODEL.model_copy(update={"candidates": candidates})))
    with track(store.config, "joint", tmp_path, TAGS) as tracked:
        uri = tracked.model(tmp_path / "best.pt", MODEL, step=20)
    location = store.client.get_logged_model(uri.removeprefix("models:/")).artifact_location
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8), (80, 60))
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "elsewhere").mkdir()
    # -I and -S: neither the current folder, nor PYTHONPATH, nor an editable installation's hook is seen.
    finished = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c", LOAD_ELSEWHERE),
            *(sysconfig.get_path("purelib"), location, str(tmp_path / "image.npy")),
        ],
        cwd=tmp_path / "elsewhere",
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    people = json.loads(finished.stdout.splitlines()[-1])
    poses = Predictor(load_model(tmp_path / "best.pt")).predict([image])[0]
    assert len(people) == len(poses.score) > 0
    for person, keypoints, score in zip(people, poses.keypoints, poses.score, strict=True):
        assert person["category_id"] == 1
        assert len(person["keypoints"]) == 51
        assert person["keypoints"] == pytest.approx(keypoints.flatten().tolist(), abs=1e-3)
        assert person["score"] == pytest.approx(float(score), abs=1e-5)


def test_a_model_needs_what_its_grouping_is_made_of() -> None:
    plain = served_needs(ModelConfig())
    assert plain == [f"{name}=={importlib.metadata.version(name)}" for name in SERVED_NEEDS]
    geometric = importlib.metadata.version("torch-geometric")
    assert served_needs(ModelConfig(grouping=GroupingConfig(interaction="gat"))) == [
        *plain,
        f"torch-geometric=={geometric}",
    ]


@pytest.mark.filterwarnings("ignore:Query string argument")
def test_a_store_is_known_again_without_its_password(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes no password, but options, which may be called anything."""
    config = store.config.model_copy(
        update={"tracking": TrackingConfig(uri=f"{store_uri(store.config)}?token=a")}
    )
    with track(config, "joint", tmp_path, {"about": "http://user:s3cret@h"}, resume=True) as first:
        pass
    known = json.loads((tmp_path / "mlflow.json").read_text())
    assert known == {"uri": f"{store_uri(store.config)}?token=***", "run_id": first.run_id}
    run = store.client.get_run(first.run_id)
    assert run.data.params["tracking.uri"] == known["uri"]
    assert run.data.tags["about"] == "http://user:***@h"
    other = config.model_copy(update={"tracking": TrackingConfig(uri=f"{store_uri(store.config)}?token=b")})
    with track(other, "joint", tmp_path, {}, resume=True) as second:
        assert second.run_id == first.run_id

    masked = config.model_copy(update={"tracking": TrackingConfig(uri=known["uri"])})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"token=\*\*\*: \*\*\* stands where a password was"):
        store_uri(masked)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", config.tracking.uri)
    assert store_uri(masked) == config.tracking.uri
