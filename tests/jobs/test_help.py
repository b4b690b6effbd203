"""Every command answers --help at once, without loading what only its work needs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.base.provenance import REPOSITORY

JOBS = sorted((REPOSITORY / "jobs").glob("*.py"))
HEAVY = ("ray", "mlflow", "torch", "pyarrow")
MOST_SECONDS = 15.0  # about half a second on an idle machine
MOST_LINES = 80

every_job = pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)


@every_job
def test_help_answers_at_once_from_any_folder(job: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(job), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert time.monotonic() - begun < MOST_SECONDS
    assert done.stdout.startswith(f"usage: python jobs/{job.stem}.py ")
    assert "--print-config" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pipeline.commands.job" in loaded
    assert not loaded & set(HEAVY)
    assert not list(tmp_path.iterdir())


@every_job
def test_a_wrong_key_ends_every_job_before_anything_starts(job: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(job), "data.rooot=x", f"run_root={tmp_path}/runs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == "error: data.rooot is not a setting: did you mean data.root?\n"
    assert not list(tmp_path.iterdir())


@every_job
def test_jobs_are_thin(job: Path) -> None:
    assert len(job.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
