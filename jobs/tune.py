"""Search the weights of the losses, learning rates and cut by Ray Tune: Optuna's trials, pruned by ASHA."""

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
    """Search, or go on with a search; files are in the run root's tune/."""
    from pipeline.studies.tuning.run import run_tune

    results = run_tune(config, arguments.resume)
    print(f"\n{Path(results['table']).read_text(encoding='utf-8')}\n")
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What tune takes beside the settings."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="only go on with a sweep that was begun; without it, the same command goes on or begins one",
    )


if __name__ == "__main__":
    run_job(main, name="tune", description=__doc__ or "", add_arguments=add_arguments)
