"""Turn COCO's annotations and pictures into records and training samples; a rerun writes what is missing."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def main(config: RunConfig, _arguments: argparse.Namespace) -> dict[str, Any]:
    """Write both stages of both splits, then results.json with counts, rates and fingerprints."""
    from pipeline.commands.preprocess import run_preprocess  # loads Ray, which --help does without

    return run_preprocess(config)


if __name__ == "__main__":
    run_job(main, name="preprocess", description=__doc__ or "")
