"""The demo: order of the stages, ending, and what a failing stage does; its jobs here are stubs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUB = """
import json, os, pathlib, sys
here = pathlib.Path(__file__)
with (here.parent / "ran").open("a") as ran:
    ran.write(json.dumps([here.stem] + sys.argv[1:]) + "\\n")
if here.stem == "evaluate":
    folder = here.parent.parent / "runs" / "evaluate"
    folder.mkdir(parents=True)
    figures = {"AP": 0.5, "AP50": 0.75, "AP75": 0.4, "AP_M": -1.0, "AP_L": 0.6, "AR": 0.55}
    (folder / "results.json").write_text(json.dumps({"ap": dict.fromkeys(("ae", "hgg", "oracle"), figures)}))
print("last line of", here.stem)
if here.stem == os.environ.get("FAILS"):
    os.kill(os.getpid(), 9) if os.environ["CODE"] == "killed" else sys.exit(int(os.environ["CODE"]))
"""
STAGES = ["synthesize", "preprocess", "pretrain", "train_joint", "evaluate", "predict"]


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Path:
    """A project whose stages are stubs, with the real demo, packages and settings."""
    (tmp_path / "jobs").mkdir()
    for package in ("hgg", "pipeline"):
        (tmp_path / package).symlink_to(repository / package)
    shutil.copy(repository / "jobs" / "demo.py", tmp_path / "jobs")
    for stage in STAGES:
        (tmp_path / "jobs" / f"{stage}.py").write_text(STUB)
    (tmp_path / "tiny.yaml").write_text("run_root: runs\n")
    return tmp_path


def _demo(project: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    done = subprocess.run(
        [sys.executable, "jobs/demo.py", "--config", "tiny.yaml", "data.seed=3"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done, [json.loads(line) for line in (project / "jobs" / "ran").read_text().splitlines()]


def test_all_stages_in_order_then_table_pictures_mlflow_and_the_last_line(project: Path) -> None:
    done, ran = _demo(project)
    assert done.returncode == 0, done.stderr
    assert [stage for stage, *_ in ran] == STAGES
    assert all(arguments[:3] == ["--config", "tiny.yaml", "data.seed=3"] for _, *arguments in ran)
    assert all(f"demo: {stage} took 0 min " in done.stderr for stage in STAGES)
    lines = done.stdout.splitlines()
    assert json.loads(lines[-1])["ap"]["oracle"]["AP_L"] == 0.6
    assert lines[1].split() == ["AP", "AP50", "AP75", "AP_M", "AP_L", "AR"]
    assert [line.split()[0] for line in lines[2:5]] == ["AE", "HGG", "oracle"]
    assert lines[3].split()[1:] == ["0.500", "0.750", "0.400", "-", "0.600", "0.550"]
    assert f"{project}/runs/evaluate/pictures" in done.stdout
    assert f"report:   {project}/runs/evaluate/report.html\n" in done.stdout
    assert f"mlflow ui --backend-store-uri sqlite:///{project}/runs/mlflow.db" in done.stdout


@pytest.mark.parametrize(("code", "expected"), [("2", 2), ("1", 1), ("killed", 137)])
def test_the_first_failure_ends_it_with_its_exit_code(project: Path, code: str, expected: int) -> None:
    done, ran = _demo(project, FAILS="pretrain", CODE=code)
    assert done.returncode == expected
    assert [stage for stage, *_ in ran] == ["synthesize", "preprocess", "pretrain"]
    assert done.stdout == ""
    assert "demo: pretrain failed with exit code" in done.stderr.splitlines()[-1]
