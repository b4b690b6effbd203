"""Turn COCO's annotations and pictures into records and training samples; a rerun writes what is missing."""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import provenance, run_job, write_results
from pipeline.config import RunConfig


def main(config: RunConfig, _arguments: argparse.Namespace) -> dict[str, Any]:
    """Write both stages of both splits, then results.json with counts, rates and fingerprints."""
    from pipeline.files import write_text
    from pipeline.preprocess import preprocess  # loads Ray, which --help does without
    from pipeline.settings import print_config

    results = provenance() | preprocess(config)
    folder = config.run_root / "preprocess"
    write_text(folder / "config.yaml", print_config(config))
    write_results(folder, results)
    return results


if __name__ == "__main__":
    run_job(main, name="preprocess", description=__doc__ or "")
