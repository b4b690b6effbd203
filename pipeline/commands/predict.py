"""Prediction from the job's side: which model, which photographs, where to."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgg.predictor import Predictor
from pipeline.base.errors import UserError
from pipeline.data.formats import image_folder
from pipeline.evaluation.trained import default_model, model_file, shipped_model, trained_model
from pipeline.prediction.predict import explainable, predict_images
from pipeline.prediction.sources import Source, find_sources
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
    recursive: bool = False,
) -> dict[str, Any]:
    """Write people.json, pictures/ and, if they are to be explained, explained/; returns places and counts.

    Images that cannot be read are left out; the log, rejected.jsonl and the results name them with their
    reasons.

    Args:
        config: settings.
        sources: images, folders, patterns and lists; none are a few of the validation split.
        out: folder to write to; None is {outputs}/predict.
        checkpoint: model file, or a registered one as models:/hgg@champion; None is the configuration's, or
            the small one that comes along where `own_settings` are asked for and that is not there.
        own_settings: whether a checkpoint is taken with the settings that it was saved with; else those of
            the configuration must be the same.
        explain: whether each grouping is also written round by round.
        labels: COCO keypoint annotation file of the images, for the oracle's grouping.
        recursive: whether a folder stands for the folders in it too.

    Raises:
        UserError: no image, no model, or what does not go together.
        Failed: no image that can be read, or more than `predict.max_rejected` that cannot.
    """
    out = out or config.outputs / "predict"
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out}: a file is there: name a folder")
    found, place = _sources(config, sources, recursive)
    if checkpoint is None and own_settings:
        checkpoint = _shipped_instead(config)
    file = local_model(config, checkpoint) if checkpoint else model_file(config)
    settings = None if checkpoint and own_settings else config.model
    predictor = Predictor(trained_model(file, settings, config.train.use_gpu), inference=config.inference)
    if labels is not None and not explain:
        raise UserError(f"--labels={labels}: only --explain looks at labels: add it")
    done = predict_images(
        predictor,
        found,
        out,
        batch_size=config.evaluate.batch_size,
        max_pixels=config.predict.max_pixels,
        min_score=config.predict.min_score,
        max_rejected=config.predict.max_rejected,
        labels=explainable(predictor, found, labels) if explain else None,
    )
    return {
        "source": place,
        "people_file": str(out / "people.json"),
        "pictures": str(out / "pictures"),
        **({"explained": str(out / "explained")} if explain else {}),
        **({"left_out": {each.file: each.detail for each in done.rejected}} if done.rejected else {}),
    } | done.counts


def _sources(config: RunConfig, words: Sequence[Path], recursive: bool) -> tuple[list[Source], str]:
    """The pictures, and where they are."""
    if words:
        return find_sources(words, recursive), ", ".join(map(str, words))
    place = image_folder(config.data, config.data.val_split)
    return find_sources([place])[: config.evaluate.pictures], str(place)


def _shipped_instead(config: RunConfig) -> Path | None:
    """The model that comes along, where settings name none and none was trained with them; else None."""
    if config.evaluate.checkpoint or default_model(config).is_file() or (shipped := shipped_model()) is None:
        return None
    log.info("predict: no model is named: taking the small one that comes along, %s", shipped)
    return shipped
