"""Measure preprocessing, reading and training on this machine, with the data of a run root."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only this job takes."""
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each of the four measurements")


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one part after the other; the figures also go to benchmark/results.json of the run root."""
    # Imported here so that --help answers at once.
    from pipeline.commands.benchmark import run_benchmark

    return run_benchmark(config, arguments.seconds)


if __name__ == "__main__":
    run_job(main, name="benchmark", description=__doc__ or "", add_arguments=add_arguments)
