"""The network of a model by each runtime: milliseconds of a batch, as docs/performance.md has them.

    python -m tests.benchmarks.runtimes [--model docs/models/lite0_hgg.pt] [--seconds 5]

Eager PyTorch, torch.compile, a program of torch.export and ONNX Runtime, each with one and two threads and
batches of 1 and 8 pictures of the model's size. Runtimes take turns, so that what else the machine does meets
all of them; the least of the rounds counts. A table in Markdown is printed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hgg.exported import MAPS, save_program
from hgg.model import HGG
from hgg.onnx_file import save_onnx
from hgg.weights import load_model

BATCHES, THREADS, FEWEST = (1, 8), (1, 2), 5
Run = Callable[[torch.Tensor], Any]


def main() -> None:
    """Write the files, time, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("docs/models/lite0_hgg.pt"))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each cell of the table, at least")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    with tempfile.TemporaryDirectory() as root, torch.no_grad():
        files = _written(model, Path(root))
        cells = {
            (batch, threads): _least(model, files, batch, threads, arguments.seconds)
            for threads in THREADS
            for batch in BATCHES
        }
    heads = [f"{_count(batch, 'picture')}, {_count(threads, 'thread')}" for batch, threads in cells]
    print(f"| ms of a batch | {' | '.join(heads)} |")
    print(f"|---|{'---:|' * len(cells)}")
    for name in next(iter(cells.values())):
        print(f"| {name} | {' | '.join(f'{each[name]:.1f}' for each in cells.values())} |")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def _written(model: HGG, root: Path) -> dict[str, Path]:
    """The network alone, and the whole, in each form."""
    files = {name: root / name for name in ("float32.onnx", "float16.onnx", "whole.onnx", "network.pt2")}
    save_onnx(files["float32.onnx"], model, 0)
    save_onnx(files["float16.onnx"], model, 0, half=True)
    save_onnx(files["whole.onnx"], model)
    save_program(files["network.pt2"], model, 0)
    return files


def _least(model: HGG, files: dict[str, Path], batch: int, threads: int, seconds: float) -> dict[str, float]:
    """Milliseconds of each runtime, the least of rounds in turn."""
    torch.set_num_threads(threads)
    side = model.config.network.input_size
    shown = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    runs = _runs(model, files, threads)
    for run in runs.values():
        run(shown)
        run(shown)
    least, rounds, begun = dict.fromkeys(runs, float("inf")), 0, time.monotonic()
    while rounds < FEWEST or time.monotonic() - begun < seconds * len(runs):
        for name, run in runs.items():
            start = time.perf_counter()
            run(shown)
            least[name] = min(least[name], 1000 * (time.perf_counter() - start))
        rounds += 1
    return least


def _runs(model: HGG, files: dict[str, Path], threads: int) -> dict[str, Run]:
    """Each runtime, as it is used: channels last where that is faster."""
    torch._dynamo.reset()
    eager = model.network.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]
    program = torch.export.load(files["network.pt2"]).module()
    return {
        "PyTorch, eager": eager,
        "torch.compile": torch.compile(eager),
        "torch.export": program,
        "ONNX Runtime, float32": _onnx(files["float32.onnx"], threads),
        "ONNX Runtime, weights in float16": _onnx(files["float16.onnx"], threads),
        "ONNX Runtime, with candidates and grouping": _onnx(files["whole.onnx"], threads),
    }


def _onnx(file: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    whole = len(session.get_inputs()) > 1

    def run(shown: torch.Tensor) -> Any:
        given = {"pictures": shown.numpy()}
        if whole:
            batch, _, height, width = shown.shape
            given["inside"] = torch.ones(batch, 1, height // 4, width // 4).numpy()
        return session.run(None if whole else [*MAPS], given)

    return run


if __name__ == "__main__":
    main()
