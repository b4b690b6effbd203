"""The paper's network on one GPU: `python -m tests.benchmarks.gpu --seconds 300`.

Inference, stage by stage; both training stages, on batches that lie in memory and in the loop that the jobs
run, fed from samples that are drawn for it; whether bfloat16 learns as float32 does. torch, numpy, scipy,
pydantic, opencv and pyarrow do. A line of JSON for each row, on stdout, that which there was no time for too.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.training.compiling import set_float32_precision
from tests.benchmarks.gpu_device import Row, Sizes, device_name, free_memory
from tests.benchmarks.gpu_inference import inference_rows
from tests.benchmarks.gpu_training import precision_rows, training_rows

# Rows are measured in this order: what is asked about first stands first.
PARTS: dict[str, Callable[[Path, Sizes], list[Row]]] = {
    "inference": inference_rows,
    "training": training_rows,
    "precision": precision_rows,
}


def main() -> None:
    """Measure everything, or what --only names, as far as the time reaches."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument(
        "--seconds",
        type=float,
        default=300.0,
        help="no row is begun that would end later, as far as is known",
    )
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the command without a GPU")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.tiny:
        raise SystemExit("no GPU here: nothing was measured (--tiny tries the commands on the CPU)")
    set_float32_precision(tf32=True)  # as training does by default
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            (part, row)
            for part in ([arguments.only] if arguments.only else PARTS)
            for row in PARTS[part](Path(folder), Sizes.tiny() if arguments.tiny else Sizes())
        ]
        measure(rows, time.perf_counter() + arguments.seconds)


def measure(rows: list[tuple[str, Row]], until: float) -> None:
    """Measure row after row, each printed as it is done; one that cannot end in time is only named."""
    for number, (part, row) in enumerate(rows, start=1):
        left = until - time.perf_counter()
        print(f"{number} of {len(rows)}: {part} {row.what}, {left:.0f} s left", file=sys.stderr, flush=True)
        found = row.measure() if left >= row.seconds else {"no_time_left": True}
        free_memory()
        print(json.dumps({"part": part, "device": device_name(), **row.what, **found}), flush=True)


if __name__ == "__main__":
    main()
