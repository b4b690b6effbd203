"""MLflow that fails at the end of a job: what was done is kept, and the same command sends the rest."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.commands import preprocess as preprocessing
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.preprocess import run_preprocess
from pipeline.settings.config import RunConfig
from pipeline.tracking.run import Tracked
from pipeline.tracking.store import store_uri
from tests.cases.evaluation import make_records, save_untrained, write_coco

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}
FOUND = {"counts": {"rows": 3}, "rejected": {}, "fingerprint": "0123456789ab", "rows_per_second": 1.0}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """An evaluation's settings over a data set of three images."""
    write_coco(tmp_path / "data", "val2017", [[(20.0, 20.0)], [], [(50.0, 30.0), (75.0, 40.0)]])
    values = {
        "run_root": tmp_path / "run",
        "data": {"root": tmp_path / "data"},
        "network": NETWORK,
        "evaluate": {"runtime_images": 0},
    }
    return RunConfig.model_validate(values)


def _refuse(*_: Any, **__: Any) -> None:
    raise MlflowException("this server has gone away")


def _kept(config: RunConfig, job: str) -> dict[str, Any]:
    return json.loads((config.run_root / job / "results.json").read_text())


def _artifacts(config: RunConfig, run: str) -> set[str]:
    client = MlflowClient(tracking_uri=store_uri(config))
    assert client.get_run(run).info.status == "FINISHED"
    return {file.path for file in client.list_artifacts(run)}


@pytest.mark.parametrize("failing", ["metrics", "artifact"])
def test_an_evaluation_is_kept_and_sent_later_from_what_it_found(
    config: RunConfig, failing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_records(config, "val2017")
    save_untrained(config)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Tracked, failing, _refuse)
        results = run_evaluation(config)
    assert _kept(config, "evaluate") == results
    assert "not sent to MLflow: figures and files of " in caplog.text
    assert "MLflow lacks some of it: the same command sends that" in caplog.text

    caplog.clear()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.evaluation.parts.find_people", lambda *_, **__: pytest.fail("done anew"))
        again = run_evaluation(config)
    for name in ("ap", "fates", "diagnosis", "mlflow_run", "model_sha256"):  # of the same run
        assert again[name] == results[name], name
    assert _artifacts(config, results["mlflow_run"]) >= {"results.json", "detections_hgg.json", "pictures"}
    assert not (config.run_root / "evaluate" / "parts").exists() or not [
        *(config.run_root / "evaluate" / "parts").iterdir()
    ]
    assert run_evaluation(config)["mlflow_run"] != results["mlflow_run"]  # all was sent: this is another one


def test_a_preprocessing_is_kept_and_sent_later(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_records(config, "val2017")
    done = {"splits": {"val2017": {"records": FOUND, "samples": FOUND}}}
    monkeypatch.setattr(preprocessing, "preprocess", lambda _: done)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("pipeline.tracking.run.connect", _refuse)
        results = run_preprocess(config)
    assert results["mlflow_run"] is None
    assert _kept(config, "preprocess") == results
    assert "not sent to MLflow: the run of preprocess: tracking.uri=" in caplog.text
    assert "the same command sends that once it answers" in caplog.text

    with monkeypatch.context() as patch:
        patch.setattr(Tracked, "artifact", _refuse)
        half = run_preprocess(config)
    assert _kept(config, "preprocess") == half
    again = run_preprocess(config)
    assert again == results | {"mlflow_run": again["mlflow_run"]} == _kept(config, "preprocess")
    assert _artifacts(config, again["mlflow_run"]) >= {"results.json", "config.yaml"}
