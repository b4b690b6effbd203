"""Write the trained and evaluated model as one small file in half precision, with a card of what it is."""

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
    from pipeline.commands.export import export_model

    if arguments.out is None:
        raise UserError("--out: give the file to write, as --out hgg.pt")
    return export_model(config, arguments.out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What export takes beside the settings."""
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write, as hgg.pt; the card is then hgg.md"
    )


if __name__ == "__main__":
    run_job(main, name="export", description=__doc__ or "", add_arguments=add_arguments)
