"""Train the proposal network and the grouping together, end to end, from the pretrained model (stage two)."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def main(config: RunConfig, _: argparse.Namespace) -> dict[str, Any]:
    """Train, or go on where the same command was stopped; results are in the run root's joint/."""
    # Imported here so that --help answers at once.
    from pipeline.commands.train import run_stage

    return run_stage(config, "joint")


if __name__ == "__main__":
    run_job(main, name="train_joint", description=__doc__ or "")
