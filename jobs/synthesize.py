"""Draw the synthetic data set into data.root, in the official COCO layout."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig
from pipeline.synthetic.dataset import make_dataset


def main(config: RunConfig, _arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw what is missing and return the counts of both splits."""
    root = config.data.root.absolute()
    splits = make_dataset(root, config.data.train_split, config.data.val_split, config.synthetic)
    return {"root": str(root), "splits": splits}


if __name__ == "__main__":
    run_job(main, name="synthesize", description=__doc__ or "")
