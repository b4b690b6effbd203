"""Train and evaluate rows of the paper's Table 2 and Fig. 4a from one pretrained network: a table of all."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import run_job
from pipeline.config import RunConfig
from pipeline.errors import UserError

log = logging.getLogger("jobs.ablate")


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is not finished and print the table; files are in the run root's ablation/."""
    if arguments.draw_graphs is not None:
        from pipeline.graph_picture import draw_graphs

        draw_graphs(arguments.draw_graphs, {})
        return {"graphs": str(arguments.draw_graphs)}

    from hgg.matching import GRACLUS_MISSING
    from pipeline.ablation import can_run, choose_rows, find_rows, read_row

    known = find_rows()
    asked = choose_rows(arguments.rows, known)
    if arguments.seeds < 1:
        raise UserError(f"--seeds={arguments.seeds}: give 1 or more")
    rows = [read_row(name, known, arguments.config, arguments.overrides) for name in known]
    unable = [row.name for row in rows if row.name in asked and not can_run(row)]
    if unable and arguments.rows:
        raise UserError(f"--rows={arguments.rows}: {GRACLUS_MISSING}")
    if unable:
        log.info("ablation: without row %s: %s", ", ".join(unable), GRACLUS_MISSING)
    run = [row for row in rows if row.name in asked and row.name not in unable]

    # Not before: it takes seconds, and mistakes are answered sooner.
    from pipeline.run_ablation import run_ablation

    results = run_ablation(config, run, arguments.seeds, rows)
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
