"""The report job: the same page from what an evaluation left, beside another one, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import UserError
from pipeline.base.files import write_json
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.report import run_report
from pipeline.settings.config import RunConfig
from tests.cases.reported import reported_config, trial_of


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Two evaluations in one run root, of two models; these are the settings of the second."""
    config = reported_config(tmp_path_factory.mktemp("reported"), report_pictures=1)
    other = trial_of(config, "other", seed=1)
    run_evaluation(config)
    run_evaluation(other)
    return other


def test_the_page_is_the_one_that_evaluation_wrote(config: RunConfig) -> None:
    folder = config.outputs / "evaluate"
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run_report(config) == {"report": str(folder / "report.html"), "compared_with": None}
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_it_is_compared_afterwards_and_with_other_pictures(config: RunConfig) -> None:
    more = config.evaluate.model_copy(update={"report_pictures": 0})
    done = run_report(config.model_copy(update={"evaluate": more}), config.run_root)
    assert done["compared_with"] == str(config.run_root / "evaluate")
    text = Path(done["report"]).read_text(encoding="utf-8")
    assert "Compared with another run" in text
    assert "<img" not in text
    assert "evaluate.report_pictures=0" in text


def test_the_command_says_where_the_page_is_or_what_is_wrong(
    config: RunConfig, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))

    def call(job: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(repository / "jobs" / job), "--config", str(tmp_path / "conf.yaml")]
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=240
        )

    done = call("report.py", "--compare", str(config.run_root))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "report": str(config.outputs / "evaluate" / "report.html"),
        "compared_with": str(config.run_root / "evaluate"),
    }
    before = (config.outputs / "evaluate" / "results.json").stat()
    for job in ("report.py", "evaluate.py"):
        done = call(job, "--compare", str(tmp_path / "nowhere"))
        assert done.returncode == 2
        assert done.stdout == ""
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "nowhere: no evaluation there: give a folder" in line
        assert "Traceback" not in done.stderr
    assert (config.outputs / "evaluate" / "results.json").stat() == before
    done = call("evaluate.py", "--compare", "x", "--submission", "y")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_what_does_not_belong_together_is_refused(config: RunConfig) -> None:
    cut = config.grouping.model_copy(update={"cut": 0.7})
    with pytest.raises(UserError, match=r"config\.yaml: the evaluation had other settings"):
        run_report(config.model_copy(update={"grouping": cut}))
    with pytest.raises(UserError, match=r"this very evaluation"):
        run_report(config, config.outputs)
    fresh = trial_of(config, "fresh", seed=0)
    with pytest.raises(UserError, match=r"no evaluation there: run jobs/evaluate\.py"):
        run_report(fresh)
    people = config.outputs / "evaluate" / "detections_ae.json"
    kept = people.read_bytes()
    people.write_text("{}")
    with pytest.raises(UserError, match=r"detections_ae\.json: not a COCO result file: a list"):
        run_report(config)
    people.write_bytes(kept)
    path = config.outputs / "evaluate" / "results.json"
    results = json.loads(path.read_text())
    write_json(path, results | {"data": "0" * 12})
    with pytest.raises(UserError, match=r"records with the fingerprint 000000000000.*jobs/evaluate\.py"):
        run_report(config)
    write_json(path, results)


def test_an_evaluation_that_is_stopped_at_its_report_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = reported_config(tmp_path, report_pictures=1)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.commands.evaluate.write_report", stop)
        run_evaluation(config)
    before = json.loads((config.outputs / "evaluate" / "results.json").read_text())
    assert not (config.outputs / "evaluate" / "report.html").exists()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.evaluation.parts.find_people", lambda *_, **__: pytest.fail("done anew"))
        again = run_evaluation(config)
    assert (again["ap"], again["mlflow_run"]) == (before["ap"], before["mlflow_run"])
    assert (config.outputs / "evaluate" / "report.html").is_file()
