"""Stores that take nothing: each is one line with the way out, before a job's work and by the doctor."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.base.errors import UserError
from pipeline.commands import preprocess as preprocessing
from pipeline.commands.doctor import check_mlflow
from pipeline.commands.preprocess import run_preprocess
from pipeline.settings.config import RunConfig, TrackingConfig
from pipeline.tracking.run import track
from tests.cases.training import tiny_run

EXPERIMENT = {
    "experiment_id": "1",
    "name": "hgg",
    "lifecycle_stage": "active",
    "artifact_location": "mlflow-artifacts:/1",
}


@contextmanager
def _server(refuses: dict[str, int]) -> Iterator[str]:
    """A server that has an experiment, and answers paths that hold one of some words with a status."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = next((code for word, code in refuses.items() if word in self.path), 200)
            body = json.dumps({"experiment": EXPERIMENT, "experiments": [EXPERIMENT]}).encode()
            if status != 200:
                body = b"You are not allowed to.\nSee the documentation."
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _refused(config: RunConfig) -> str:
    """What the doctor and the beginning of a run say; nothing is left behind."""
    (finding,) = check_mlflow(config)
    assert finding.level == "fail"
    folder = config.run_root / "pretrain"
    with pytest.raises(UserError) as caught, track(config, "pretrain", folder, {}):
        pass
    assert "\n" not in finding.text + str(caught.value)
    assert not folder.exists()
    return f"{finding.text}\n{caught.value}"


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ({"mlflow": 401}, "error code 401"),
        ({"mlflow": 403}, "error code 403"),
    ],
)
def test_wrong_credentials(tmp_path: Path, refuses: dict[str, int], said: str) -> None:
    with _server(refuses) as uri:
        text = _refused(RunConfig(run_root=tmp_path, tracking=TrackingConfig(uri=uri)))
    assert text.count(said) == 2
    assert text.count("set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") == 2


def test_a_user_who_may_read_and_not_write(tmp_path: Path) -> None:
    with _server({"runs/create": 403}) as uri:
        config = RunConfig(run_root=tmp_path, tracking=TrackingConfig(uri=uri))
        with (
            pytest.raises(UserError, match=r"a user's who may write to tracking\.experiment=hgg"),
            track(config, "pretrain", tmp_path / "pretrain", {}),
        ):
            pass


def test_a_servers_artifacts_that_cannot_be_written(tmp_path: Path) -> None:
    with _server({"mlflow-artifacts/artifacts": 403}) as uri:
        text = _refused(RunConfig(run_root=tmp_path, tracking=TrackingConfig(uri=uri)))
    assert text.count("its artifacts cannot be written to mlflow-artifacts:/1: ") == 2
    assert text.count("give whoever starts the job the right to write there") == 2


@pytest.fixture
def with_a_store(tmp_path: Path) -> RunConfig:
    """Settings with a file of MLflow's that has been made, whose experiment's artifacts are below another."""
    (tmp_path / "file").write_text("no folder")
    uri = f"sqlite:///{tmp_path}/named.db"
    MlflowClient(tracking_uri=uri).create_experiment("hgg", f"file://{tmp_path}/file/artifacts")
    config = tiny_run(tmp_path)
    return config.model_copy(update={"tracking": TrackingConfig(uri=uri)})


def test_a_folder_of_artifacts_that_cannot_be_written(with_a_store: RunConfig) -> None:
    text = _refused(with_a_store)
    where = with_a_store.run_root.parent / "file"
    assert text.count(f"its artifacts cannot be written to file://{where}/artifacts: ") == 2


def test_a_deleted_experiment_is_named_before_any_work(
    with_a_store: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(tracking_uri=with_a_store.tracking.uri)
    experiment = client.get_experiment_by_name("hgg")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    text = _refused(with_a_store)
    way = f"bring it back with `mlflow experiments restore --experiment-id {experiment.experiment_id}`"
    assert text.count(f"tracking.experiment=hgg: it was deleted: {way}") == 2
    monkeypatch.setattr(preprocessing, "preprocess", lambda _: pytest.fail("this is the work"))
    with pytest.raises(UserError, match="it was deleted"):
        run_preprocess(with_a_store)
    assert not (with_a_store.run_root / "preprocess").exists()
    other = with_a_store.model_copy(
        update={"tracking": with_a_store.tracking.model_copy(update={"experiment": "hgg2"})}
    )
    (finding,) = check_mlflow(other)
    assert finding.level == "ok"
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ
