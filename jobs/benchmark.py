"""Measure preprocessing, reading and training on this machine, with the data of a run root."""

import argparse
import logging
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import run_job
from pipeline.config import RunConfig
from pipeline.errors import UserError
from pipeline.provenance import provenance, write_results

log = logging.getLogger("jobs.benchmark")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only this job takes."""
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each of the four measurements")


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one part after the other; the figures also go to benchmark/results.json of the run root."""
    # Imported here so that --help answers at once.
    import torch

    from pipeline import benchmark

    if arguments.seconds <= 0:
        raise UserError(f"--seconds {arguments.seconds}: must be above 0")
    measures: dict[str, Callable[[RunConfig, float], float | None]] = {
        "views_per_second": benchmark.views_per_second,
        "samples_per_second": benchmark.samples_per_second,
        "pretrain_images_per_second": benchmark.pretrain_images_per_second,
        "joint_images_per_second": benchmark.joint_images_per_second,
    }
    figures: dict[str, float | None] = {}
    for name, measure in measures.items():
        figures[name] = measure(config, arguments.seconds)
        log.info("%s: %s", name, figures[name])
    results = figures | {
        "input_size": config.network.input_size,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "seconds": arguments.seconds,
        **provenance(),
    }
    write_results(config.run_root.absolute() / "benchmark", results)
    return results


if __name__ == "__main__":
    run_job(main, name="benchmark", description=__doc__ or "", add_arguments=add_arguments)
