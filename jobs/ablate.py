"""Train and evaluate rows of the paper's Table 2 and Fig. 4a from one pretrained network: a table of all."""

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
    """Run what is not finished and print the table; files are in the run root's ablation/."""
    if arguments.draw_graphs is not None:
        from pipeline.studies.ablation.graphs import draw_graphs

        draw_graphs(arguments.draw_graphs, {})
        return {"graphs": str(arguments.draw_graphs)}

    # Imported here so that --help answers at once.
    from pipeline.studies.ablation.run import ablate

    results = ablate(config, arguments.config, arguments.overrides, arguments.rows, arguments.seeds)
    print(f"\n{Path(results['table']).read_text(encoding='utf-8')}\n")
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ablate takes beside the settings."""
    parser.add_argument(
        "--rows",
        default="",
        help="names separated by commas, as in 1,4,9,tree; by default all of conf/ablation",
    )
    parser.add_argument(
        "--draw-graphs", type=Path, metavar="FILE", help="only draw the four graphs of Fig. 4a, as PNG"
    )
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each row; by default 1")


if __name__ == "__main__":
    run_job(main, name="ablate", description=__doc__ or "", add_arguments=add_arguments)
