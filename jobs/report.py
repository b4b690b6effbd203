"""Write the report of a finished evaluation anew, alone or beside another run's: one HTML file."""

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
    """Write {run_root}/{trial}/evaluate/report.html; returns its place."""
    # Imported here so that --help answers at once.
    from pipeline.commands.report import run_report

    return run_report(config, arguments.compare)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What report takes beside the settings."""
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="RUN",
        help="another evaluation to show beside this one: its folder, or the run root or trial that it is in",
    )


if __name__ == "__main__":
    run_job(main, name="report", description=__doc__ or "", add_arguments=add_arguments)
