"""jobs/doctor.py names the cause: packages, cluster, storage, MLflow, data, samples, model."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.errors import UserError
from pipeline.base.findings import Finding
from pipeline.commands import start
from pipeline.commands.doctor import check_data, check_mlflow, check_model
from pipeline.commands.start import check_disk, check_packages, check_start
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config
from tests.cases.evaluation import make_samples
from tests.cases.training import tiny_run

GIB = 1 << 30


def _with_samples(root: Path) -> RunConfig:
    """A run root whose one split has records and samples that fit."""
    config = tiny_run(root)
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"train_split": config.data.val_split})}
    )
    make_samples(config, config.data.val_split)
    return config


def _levels(findings: list[Finding]) -> set[str]:
    return {finding.level for finding in findings}


def test_this_environment_is_the_tested_one() -> None:
    assert _levels([*check_packages()]) == {"ok"}


def test_a_missing_part_of_ray_and_another_version_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = start.installed_version
    there = {"aiohttp-cors": None, "mlflow": "3.1.0"}
    monkeypatch.setattr(
        start, "installed_version", lambda name: there.get(name, real(name)) if name in there else real(name)
    )
    found = [*check_packages()]
    (missing,) = (finding.text for finding in found if finding.level == "fail")
    assert "aiohttp-cors is missing" in missing
    assert "ray[default,data,train,tune]" in missing
    others = [finding.text for finding in found if finding.level == "warn"]
    assert any(text.startswith("mlflow 3.1.0: tested with 3.17.2") for text in others), others


def test_a_job_is_silent_about_versions_that_are_admitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(start, "installed_version", lambda _: "9.9.9")
    assert _levels([*check_packages()]) >= {"warn"}
    check_start(RunConfig(run_root=tmp_path / "runs"))
    assert not caplog.records


def test_a_full_disk_stops_a_job_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(run_root=tmp_path / "runs" / "new")
    assert _levels([*check_disk(config)]) == {"ok"}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(GIB, GIB, GIB // 1000))
    with pytest.raises(UserError, match=r"GiB free, checkpoints take up to .*make room"):
        check_start(config)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (finding,) = check_disk(RunConfig(run_root=tmp_path / "file" / "runs"))
    assert finding.level == "fail"
    assert "cannot write to" in finding.text


def test_mlflow_is_asked_and_a_wrong_address_named(tmp_path: Path) -> None:
    config = load_config([], [f"run_root={tmp_path}"])
    (finding,) = check_mlflow(config)
    assert finding.level == "ok"
    assert "will be made" in finding.text
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    (finding,) = check_mlflow(config)
    assert finding.level == "fail"
    assert "mlflow.db" in finding.text


def test_a_run_root_that_mlflow_cannot_have_is_named_before_any_work(tmp_path: Path) -> None:
    config = load_config([], [f"run_root={tmp_path}/what?/run"])
    (finding,) = check_mlflow(config)
    assert finding.level == "fail"
    assert "below a question mark: give the folder another name, or set tracking.uri" in finding.text
    with pytest.raises(UserError, match="question mark"):
        check_start(config, training=False)
    check_start(load_config([], [f"run_root={tmp_path}/what?/run", "tracking.uri=sqlite:////tmp/a.db"]))
    assert list(tmp_path.iterdir()) == []


def test_missing_and_stale_data_are_named(tmp_path: Path) -> None:
    config = _with_samples(tmp_path)
    fine = [*check_data(config)]
    assert _levels(fine) == {"ok"}
    other = config.model_copy(update={"data": config.data.model_copy(update={"sigma": 3.25})})
    stale = [finding.text for finding in check_data(other) if finding.level == "fail"]
    assert len(stale) == 1
    assert "stale (sigma is 2.0, here 3.25): run jobs/preprocess.py" in stale[0]
    empty = [*check_data(config.model_copy(update={"run_root": tmp_path / "other"}))]
    assert [finding.level for finding in empty if finding.check == "samples"] == ["warn"]
    (finding,) = check_model(config)
    assert finding.level == "ok"
    assert "has a loss" in finding.text


def test_a_network_whose_deepest_map_is_one_cell_is_looked_at_too(tmp_path: Path) -> None:
    config = load_config([], [f"run_root={tmp_path}", "network.input_size=64", "network.channels=16"])
    assert config.network.normalises_nothing(1)
    (finding,) = check_model(config)
    assert finding.level == "ok", finding.text


def test_the_job_prints_a_line_each_and_fails_with_the_data(tmp_path: Path, repository: Path) -> None:
    command = [
        *(sys.executable, "jobs/doctor.py", "--config", "conf/demo.yaml"),
        *(f"run_root={tmp_path}/runs", f"data.root={tmp_path}/runs/data"),
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    python")
    assert (
        sum(line.startswith("fail  data") and "run jobs/synthesize.py first" in line for line in lines) == 2
    )
    assert json.loads(lines[-1])["fail"] == 2
    assert done.stderr == ""
    machine = subprocess.run(
        [*command, "--json"], cwd=repository, capture_output=True, text=True, timeout=120
    )
    (line,) = machine.stdout.splitlines()
    assert {finding["check"] for finding in json.loads(line)["findings"]} >= {"ray", "mlflow", "model"}
    assert list(tmp_path.iterdir()) == []
