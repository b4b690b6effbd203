"""Find the people of the validation split and score AE, HGG and the oracle from one forward pass."""

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
    """Evaluate and print the table; result files, pictures and report are in the run root's evaluate/.

    With --submission only write the result file that COCO's server takes.
    """
    # Imported here so that --help answers at once.
    if arguments.submission is not None:
        if arguments.compare is not None:
            raise UserError("--compare: nothing is scored with --submission: leave one of them out")
        from pipeline.commands.submission import predict_submission

        pictures = arguments.pictures or config.data.root / "test2017"
        return predict_submission(config, arguments.submission, pictures, arguments.grouping)

    from pipeline.commands.evaluate import run_evaluation, shown

    results = run_evaluation(config, compare=arguments.compare)
    print(f"\n{shown(results)}\n")
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What evaluate takes beside the settings."""
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="FILE",
        help="COCO's image_info_test-dev2017.json: instead of scoring, write the result file for its server",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="folder of the submission's images; by default {data.root}/test2017",
    )
    parser.add_argument(
        "--grouping", choices=("hgg", "ae"), default="hgg", help="of the submission; by default hgg"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="RUN",
        help="another evaluation that the report shows beside this one: its folder, or the run root or trial "
        "that it is in",
    )


if __name__ == "__main__":
    run_job(main, name="evaluate", description=__doc__ or "", add_arguments=add_arguments)
