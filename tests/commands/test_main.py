"""`hgg`: every job as a sub-command of one command, which prediction needs little beside."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.base.provenance import REPOSITORY
from pipeline.commands.job import PIPELINE_PACKAGES, told_apart
from pipeline.commands.main import job_files

SHIPPED = REPOSITORY / "docs" / "models" / "lite0_hgg.pt"


def _hgg(*arguments: str, folder: Path, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        f"for name in {without!r}: sys.modules[name] = None\n"
        f"sys.argv = {['hgg', *arguments]!r}\n"
        "from pipeline.commands.main import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_help_names_every_job_with_what_it_does(tmp_path: Path) -> None:
    done = _hgg("--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for path in (REPOSITORY / "jobs").glob("*.py"):
        assert f"  {path.stem.replace('_', '-')} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 130
    assert _hgg(folder=tmp_path).returncode == 2


def test_a_jobs_help_says_how_it_was_called(tmp_path: Path) -> None:
    for name in ("train-joint", "train_joint"):
        done = _hgg(name, "--help", folder=tmp_path)
        assert done.returncode == 0
        assert done.stdout.startswith("usage: hgg train-joint ")


def test_an_unknown_command_is_one_line(tmp_path: Path) -> None:
    done = _hgg("predikt", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: predikt is no command of hgg: take one of ablate, benchmark, ")
    assert done.stderr.count("\n") == 1


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("hgg")
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version}\n", "")


def test_settings_and_sources_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.jpg").touch()
    words = ["photo.jpg", "predict.min_score=0.2", "a=b.jpg", "run_root=x", "photos/1=2.png"]
    sources, settings = told_apart(words)
    assert sources == ["photo.jpg", "a=b.jpg", "photos/1=2.png"]
    assert settings == ["predict.min_score=0.2", "run_root=x"]


def test_photographs_are_predicted_without_what_training_needs(tmp_path: Path) -> None:
    """By the model that comes along, as no other is named."""
    picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    for name in ("one.png", "two.png"):
        cv2.imwrite(str(tmp_path / name), picture)
    without = (*PIPELINE_PACKAGES, "torch_geometric")
    done = _hgg("predict", "one.png", "two.png", "predict.min_score=0", folder=tmp_path, without=without)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert (results["source"], results["images"]) == ("one.png, two.png", 2)
    assert f"taking the small one that comes along, {SHIPPED}" in done.stderr
    assert (Path(results["pictures"]) / "two.png").is_file()


def test_a_package_of_the_pipeline_that_is_missing_is_one_line(tmp_path: Path) -> None:
    done = _hgg("evaluate", f"evaluate.checkpoint={SHIPPED}", folder=tmp_path, without=PIPELINE_PACKAGES)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(" which this needs: pip install 'hgg[pipeline]'")


def test_every_folder_with_code_is_packaged() -> None:
    tool = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "pipeline").rglob("*.py")}
    wanted = {"hgg", "hgg.skeletons", *tool["package-dir"], *(".".join(each.parts) for each in folders)}
    assert set(tool["packages"]) == wanted
    assert all((REPOSITORY / folder).is_dir() for folder in tool["package-dir"].values())
    assert {*job_files()} == {path.stem.replace("_", "-") for path in (REPOSITORY / "jobs").glob("*.py")}
