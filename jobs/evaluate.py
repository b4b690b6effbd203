"""Find the people of the validation split and score AE, HGG and the oracle from one forward pass."""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import run_job
from pipeline.config import RunConfig


def main(config: RunConfig, _: argparse.Namespace) -> dict[str, Any]:
    """Evaluate and print the table; result files and pictures are in the run root's evaluate/."""
    # Imported here so that --help answers at once.
    from pipeline.detections import table
    from pipeline.run_evaluate import run_evaluation
    from pipeline.runtime import runtime_table

    results = run_evaluation(config)
    print(f"\n{table(results['ap'])}\n")
    if results["runtime"]:
        print(f"{runtime_table(results['runtime'])}\n")
    return results


if __name__ == "__main__":
    run_job(main, name="evaluate", description=__doc__ or "")
