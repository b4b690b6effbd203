"""Find the people of images, folders, videos and cameras: JSON in COCO's keypoint format, and pictures."""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig

SOURCES = (
    "image, folder, pattern as 'photos/*.jpg', list of them (.txt), video, camera's number or stream's "
    "address; by default a few images of the validation split"
)


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write people.json and pictures/ into the output folder; returns their place and counts."""
    # Imported here so that --help answers at once.
    from pipeline.commands.predict import run_prediction

    return run_prediction(
        config,
        sources=[*arguments.source, *arguments.sources],
        out=arguments.out,
        checkpoint=arguments.checkpoint,
        # Whoever names a model alone wants it as it is, but for what is said beside it; a configuration must
        # be the model's own.
        overrides=None if arguments.config else arguments.overrides,
        explain=arguments.explain,
        labels=arguments.labels,
        recursive=arguments.recursive,
        track=arguments.track,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What predict takes beside the settings."""
    parser.add_argument("--source", action="append", default=[], help="the same as SOURCE; may be repeated")
    parser.add_argument(
        "--recursive",
        action="store_true",
        help="look into the folders in a folder too; names tell them apart",
    )
    parser.add_argument(
        "--track", action="store_true", help="follow the people of videos: an id each, and steadier joints"
    )
    parser.add_argument("--out", type=Path, help="folder to write to; by default {run_root}/{trial}/predict")
    parser.add_argument(
        *("--checkpoint", "--model"),
        type=Path,
        help="model file (.pt or .onnx), or a registered one as models:/hgg@champion; by default "
        "evaluate.checkpoint or the best joint one; where no configuration is given either, the small one "
        "that comes along",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="also write each image's grouping round by round: a strip (.rounds.png) and a page to open in a "
        "browser (.html), in the output folder's explained/",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="COCO keypoint annotation file of the images, for the oracle's grouping on the page",
    )


if __name__ == "__main__":
    run_job(main, name="predict", description=__doc__ or "", add_arguments=add_arguments, sources=SOURCES)
