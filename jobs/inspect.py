"""Look at a data set before training: an HTML page with counts, labels on pictures, and doubtful labels."""

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
    """Write {run_root}/inspect/index.html; returns its place and counts."""
    from pipeline.commands.inspect import run_inspection  # loads more than --help needs

    return run_inspection(config, arguments.images)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What inspect takes beside the settings."""
    parser.add_argument(
        "--images",
        type=int,
        default=1000,
        metavar="N",
        help="pictures of each split that are opened, spread over it; 0 is all (default: 1000)",
    )


if __name__ == "__main__":
    run_job(main, name="inspect", description=__doc__ or "", add_arguments=add_arguments)
