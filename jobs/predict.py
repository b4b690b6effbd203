"""Find the people of an image or of a folder of images: JSON in COCO's keypoint format, and pictures."""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import run_job
from pipeline.config import RunConfig
from pipeline.errors import UserError


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write people.json and pictures/ into the output folder; returns their place and counts."""
    from hgg.predictor import Predictor
    from pipeline.layout import image_folder
    from pipeline.predict import explain_images, explainable, find_images, predict_images
    from pipeline.registry import local_model
    from pipeline.trained import model_file, trained_model

    if arguments.source is None:
        source = image_folder(config.data, config.data.val_split)
        images = find_images(source)[: config.evaluate.pictures]
    else:
        source = arguments.source
        images = find_images(source)
    # Whoever names a file alone wants that model as it is; a configuration must be the model's own.
    own = arguments.checkpoint is not None and not arguments.config
    file = local_model(config, arguments.checkpoint) if arguments.checkpoint else model_file(config)
    model = trained_model(file, None if own else config.model, config.train.use_gpu)
    out = arguments.out or config.outputs / "predict"
    predictor = Predictor(model, inference=config.inference)
    if arguments.labels is not None and not arguments.explain:
        raise UserError(f"--labels={arguments.labels}: only --explain looks at labels: add it")
    explained = explainable(predictor, images, arguments.labels) if arguments.explain else {}
    counts = predict_images(predictor, images, out, batch_size=config.evaluate.batch_size)
    explain_images(predictor, explained, out / "explained")
    return {
        "source": str(source),
        "people_file": str(out / "people.json"),
        "pictures": str(out / "pictures"),
        **({"explained": str(out / "explained")} if explained else {}),
    } | counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What predict takes beside the settings."""
    parser.add_argument(
        "--source", type=Path, help="image or folder of images; by default a few of the validation split"
    )
    parser.add_argument("--out", type=Path, help="folder to write to; by default {run_root}/{trial}/predict")
    parser.add_argument(
        *("--checkpoint", "--model"),
        type=Path,
        help="model file, or a registered one as models:/hgg@champion; by default evaluate.checkpoint or the "
        "best joint one",
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
    run_job(main, name="predict", description=__doc__ or "", add_arguments=add_arguments)
