"""The evaluate job: what it leaves under the run root and in MLflow, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import UserError
from pipeline.commands.evaluate import run_evaluation
from pipeline.data.truth import truth_file
from pipeline.metrics.coco import METRICS, coco_metrics
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import make_records, save_untrained, write_coco

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Settings of a run root with nothing in it, over a data set of three images."""
    write_coco(tmp_path / "data", "val2017", [[(20.0, 20.0)], [], [(50.0, 30.0), (75.0, 40.0)]])
    values = {"run_root": tmp_path / "run", "data": {"root": tmp_path / "data"}, "network": NETWORK}
    return RunConfig.model_validate(values)


def test_the_command_leaves_results_files_pictures_and_a_run_in_mlflow(
    config: RunConfig, repository: Path, tmp_path: Path
) -> None:
    make_records(config, "val2017")
    save_untrained(config)
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    done = subprocess.run(
        [sys.executable, str(repository / "jobs" / "evaluate.py"), "--config", str(tmp_path / "conf.yaml")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    folder = config.run_root / "evaluate"
    results = json.loads((folder / "results.json").read_text())
    lines = done.stdout.splitlines()
    assert json.loads(lines[-1]) == results
    assert [line.split()[0] for line in lines if line.startswith(("AE", "HGG", "oracle"))] == [
        "AE", "HGG", "oracle",
    ]  # fmt: skip
    assert set(results["ap"]) == {"ae", "hgg", "oracle"}
    assert set(results["ap"]["hgg"]) == set(METRICS["keypoints"])
    assert results["counts"]["images"] == 3
    assert results["counts"]["people"] == 3
    assert [row["images"] for row in results["diagnosis"]][:4] == [3, 1, 1, 0]
    assert results["diagnosis"][0]["oracle"] == results["ap"]["oracle"]["AP"]
    diagnosis = (folder / "diagnosis.md").read_text()
    assert diagnosis.count("\n| ") == 9 + 1 + 7  # parts of the first table; head and kinds of the second
    assert results["fates"]["oracle"]["all"]["keypoints"] == 3 * 17
    assert results["runtime"]["images"] == 3
    assert sum(results["runtime"]["median_ms"].values()) > 0
    assert (folder / "runtime.png").stat().st_size > 5_000
    assert "ms per image" in done.stdout
    assert results["report"] == "report.html"
    assert f"evaluate: report: {folder / 'report.html'}\n" in done.stderr
    assert {"command", "commit", "configuration", "data", "model", "model_sha256"} <= set(results)
    for grouping, figures in results["ap"].items():
        rows = json.loads((folder / f"detections_{grouping}.json").read_text())
        annotations = config.data.root / "annotations" / "person_keypoints_val2017.json"
        assert coco_metrics(annotations, rows) == figures
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == [
        "10.png", "20.png", "30.png", "picture.png",
    ]  # fmt: skip
    _check_tracked(config, results)


def _check_tracked(config: RunConfig, results: dict) -> None:
    from mlflow import MlflowClient

    from pipeline.tracking.store import store_uri

    run = MlflowClient(tracking_uri=store_uri(config)).get_run(results["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["hgg/AP"] == results["ap"]["hgg"]["AP"]
    assert run.data.metrics["images"] == 3
    assert run.data.tags["data"] == results["data"]
    kept = {path.name for path in (config.run_root / "mlartifacts").rglob("*") if path.is_file()}
    written = {"results.json", "diagnosis.md", "report.html", "detections_hgg.json", "picture.png"}
    assert written | {"runtime.png", "10.html", "30.html"} <= kept  # the last two explain pictures


def test_what_is_missing_or_does_not_fit_is_named_before_anything_is_written(config: RunConfig) -> None:
    with pytest.raises(UserError, match=r"jobs/train_joint\.py"):
        run_evaluation(config)
    save_untrained(config)
    with pytest.raises(UserError, match=r"jobs/preprocess\.py"):
        run_evaluation(config)
    make_records(config, "val2017")
    other = config.model_copy(update={"network": config.network.model_copy(update={"stacks": 2})})
    with pytest.raises(UserError, match=r"another architecture.*stacks"):
        run_evaluation(other)
    truth_file(config.run_root / "records" / "val2017", 0).unlink()
    with pytest.raises(UserError, match=r"truth-00000\.json: no such file.*jobs/preprocess\.py"):
        run_evaluation(config)
    assert not (config.run_root / "evaluate").exists()
