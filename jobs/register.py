"""Make the evaluated model a version in MLflow's registry, and the champion if better on the same data."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Register what jobs/evaluate.py measured with these settings; says who is the champion, and why."""
    # Imported here so that --help answers at once.
    from pipeline.commands.register import register

    return register(config, arguments.run, dry_run=arguments.dry_run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What register takes beside the settings."""
    parser.add_argument(
        "--run", metavar="ID", help="MLflow run of the evaluation; by default the run root's latest"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and change nothing")


if __name__ == "__main__":
    run_job(main, name="register", description=__doc__ or "", add_arguments=add_arguments)
