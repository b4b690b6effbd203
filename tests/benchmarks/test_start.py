"""How long a job takes to say what it takes: no Ray, no torch, no MLflow is loaded for that."""

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.timing import timed

JOBS = sorted((Path(__file__).parents[2] / "jobs").glob("*.py"))


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_help(benchmark: BenchmarkFixture, job: Path) -> None:
    def ask() -> None:
        subprocess.run([sys.executable, str(job), "--help"], capture_output=True, check=True)

    timed(benchmark, "start: --help", ask, case=job.stem, target="1000", rounds=3)
