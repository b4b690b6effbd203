"""Measure preprocessing, reading and training on this machine, with the data of a run root."""

import argparse
import logging
import os
import platform
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import UserError, provenance, run_job, write_results
from pipeline.config import RunConfig

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
    figures = {}
    for name, measure in {
        "views_per_second": lambda: benchmark.views_per_second(config, arguments.seconds),
        "samples_per_second": lambda: benchmark.samples_per_second(config, arguments.seconds),
        "pretrain_images_per_second": lambda: benchmark.images_per_second(config, False, arguments.seconds),
        "joint_images_per_second": lambda: benchmark.images_per_second(config, True, arguments.seconds),
    }.items():
        figures[name] = round(measure(), 2)
        log.info("%-28s %10.2f", name, figures[name])
    results = figures | {
        "input_size": config.network.input_size,
        "pretrained": benchmark.pretrained(config).exists(),
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
