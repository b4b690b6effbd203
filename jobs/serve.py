"""Serve a model: an endpoint for pictures, and a page to try it on, by Ray Serve."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Answer until Ctrl-C or SIGTERM."""
    # Imported here so that --help answers at once.
    from pipeline.commands.serve import run_endpoint
    from pipeline.settings.load import with_given

    given = {"host": arguments.host, "port": arguments.port}
    config = with_given(config, "serve", {key: value for key, value in given.items() if value is not None})
    # As in predict.
    return run_endpoint(config, arguments.model, None if arguments.config else arguments.overrides)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What serve takes beside the settings."""
    parser.add_argument(
        "--model",
        type=Path,
        help="model file, or a registered one as models:/hgg@champion, whose alias is followed; by default "
        "as predict chooses",
    )
    parser.add_argument("--host", help="serve.host; any but this machine's own wants a token in HGG_TOKEN")
    parser.add_argument("--port", type=int, help="serve.port; 0 takes a free one")


if __name__ == "__main__":
    run_job(main, name="serve", description=__doc__ or "", add_arguments=add_arguments)
