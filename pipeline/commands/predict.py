"""Prediction from the job's side: which model, which photographs, where to."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgg.predictor import Predictor
from pipeline.base.errors import UserError
from pipeline.data.formats import image_folder
from pipeline.evaluation.trained import default_model, model_file, shipped_model, trained_model
from pipeline.prediction.predict import explain_images, explainable, find_images, predict_images, readable
from pipeline.settings.config import RunConfig
from pipeline.tracking.registry import local_model

log = logging.getLogger(__name__)


def run_prediction(
    config: RunConfig,
    *,
    sources: Sequence[Path],
    out: Path | None,
    checkpoint: Path | None,
    own_settings: bool,
    explain: bool,
    labels: Path | None,
) -> dict[str, Any]:
    """Write people.json, pictures/ and, if they are to be explained, explained/; returns places and counts.

    Images that cannot be read are left out; the log and the results name them with their reasons.

    Args:
        config: settings.
        sources: images and folders of images; none are a few of the validation split.
        out: folder to write to; None is {outputs}/predict.
        checkpoint: model file, or a registered one as models:/hgg@champion; None is the configuration's, or
            the small one that comes along where `own_settings` are asked for and that is not there.
        own_settings: whether a checkpoint is taken with the settings that it was saved with; else those of
            the configuration must be the same.
        explain: whether each grouping is also written round by round.
        labels: COCO keypoint annotation file of the images, for the oracle's grouping.

    Raises:
        UserError: no image that can be read, no model, or what does not go together.
    """
    out = out or config.outputs / "predict"
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out}: a file is there: name a folder")
    images, place = _images(config, sources)
    if checkpoint is None and own_settings:
        checkpoint = _shipped_instead(config)
    file = local_model(config, checkpoint) if checkpoint else model_file(config)
    settings = None if checkpoint and own_settings else config.model
    predictor = Predictor(trained_model(file, settings, config.train.use_gpu), inference=config.inference)
    if labels is not None and not explain:
        raise UserError(f"--labels={labels}: only --explain looks at labels: add it")
    limit = config.predict.max_pixels
    images, left_out = readable(images, limit)
    for name, why in left_out.items():
        log.warning("predict: %s is left out: %s", name, why)
    explained = explainable(predictor, images, labels) if explain else {}
    batch_size = config.evaluate.batch_size
    counts = predict_images(
        predictor,
        images,
        out,
        batch_size=batch_size,
        max_pixels=limit,
        min_score=config.predict.min_score,
    )
    explain_images(predictor, explained, out / "explained", limit)
    return {
        "source": place,
        "people_file": str(out / "people.json"),
        "pictures": str(out / "pictures"),
        **({"explained": str(out / "explained")} if explained else {}),
        **({"left_out": left_out} if left_out else {}),
    } | counts


def _images(config: RunConfig, sources: Sequence[Path]) -> tuple[list[Path], str]:
    """The images, each once, and where they are."""
    if sources:
        images = dict.fromkeys(path for source in sources for path in find_images(source))
        return [*images], ", ".join(map(str, sources))
    place = image_folder(config.data, config.data.val_split)
    return find_images(place)[: config.evaluate.pictures], str(place)


def _shipped_instead(config: RunConfig) -> Path | None:
    """The model that comes along, where settings name none and none was trained with them; else None."""
    if config.evaluate.checkpoint or default_model(config).is_file() or (shipped := shipped_model()) is None:
        return None
    log.info("predict: no model is named: taking the small one that comes along, %s", shipped)
    return shipped
