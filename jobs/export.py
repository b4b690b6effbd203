"""Write the evaluated model as one file with a card: this project's own, ONNX, or torch.export's."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.base.errors import UserError
from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the file and its card; nothing that exists is overwritten."""
    # Imported here so that --help answers at once.
    from pipeline.commands.export import Exported, export_model

    if arguments.out is None:
        raise UserError("--out: give the file to write, as --out hgg.pt")
    how = Exported(arguments.format, arguments.precision, arguments.candidates)
    return export_model(config, arguments.out, how)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What export takes beside the settings."""
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write, as hgg.pt; the card is then hgg.md"
    )
    parser.add_argument(
        "--format",
        choices=("pt", "onnx", "torch"),
        default="pt",
        help="pt: for this project; onnx: for ONNX Runtime and others (.onnx); torch: torch.export's (.pt2)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16"),
        help="of the weights; by default float16 of pt, float32 of the others",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        metavar="N",
        help="of a picture in the graph of onnx and torch, by default 128; 0 leaves the grouping out",
    )


if __name__ == "__main__":
    run_job(main, name="export", description=__doc__ or "", add_arguments=add_arguments)
