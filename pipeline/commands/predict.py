"""Prediction from the job's side: which model, which photographs, where to."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgg.predictor import Predictor
from pipeline.base.errors import UserError
from pipeline.base.s3 import as_path, local_copy
from pipeline.data.formats import image_folder
from pipeline.evaluation.trained import (
    default_model,
    model_file,
    saved_model_settings,
    shipped_model,
)
from pipeline.prediction.explain import explainable
from pipeline.prediction.model_plan import ModelPlan
from pipeline.prediction.predict import NothingRead, Rejected
from pipeline.prediction.shards import list_rejected, predict_images, too_many
from pipeline.prediction.sources import Source, find_sources, is_file_name, is_video
from pipeline.prediction.video import Following, predict_video, video_names
from pipeline.prediction.video_file import BadVideo
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.sources import read_overrides
from pipeline.tracking.registry import local_model

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage

log = logging.getLogger(__name__)


def run_prediction(
    config: RunConfig,
    *,
    sources: Sequence[str | Path],
    out: Path | None,
    checkpoint: Path | None,
    overrides: Sequence[str] | None,
    explain: bool,
    labels: Path | None,
    recursive: bool = False,
    track: bool = False,
) -> dict[str, Any]:
    """Write people.json, pictures/ and, if they are to be explained, explained/; returns places and counts.

    Images that cannot be read are left out; the log, rejected.jsonl and the results name them with their
    reasons.

    Args:
        config: settings.
        sources: images, folders, patterns, lists, videos, cameras and streams; none are a few images of the
            validation split.
        out: folder to write to; None is {outputs}/predict.
        checkpoint: model file, or a registered one as models:/hgg@champion; None is the configuration's, or
            the small one that comes along where that is not there and `overrides` are given.
        overrides: settings of the command line, where a checkpoint is taken with all others as it was saved;
            None where the configuration's must be the checkpoint's.
        explain: whether each grouping is also written round by round.
        labels: COCO keypoint annotation file of the images, for the oracle's grouping.
        recursive: whether a folder stands for the folders in it too.
        track: whether the people of videos are followed from frame to frame.

    Raises:
        UserError: no image, no model, or what does not go together.
        Failed: nothing that can be read, or more than `predict.max_rejected` that cannot.
    """
    out = as_path(out or config.outputs / "predict")
    videos = [str(word) for word in sources if is_video(word)]
    words = [word for word in sources if not is_video(word)]
    _check_paths(out, labels, explain, videos)
    found = _images(config, words, recursive) if words or not videos else []
    model = model_plan(config, checkpoint, overrides)
    predictor = model.predictor()
    results: dict[str, Any] = {"source": ", ".join(map(str, sources)) or str(_validation(config))}
    rejected: list[Rejected] = []
    nothing: list[NothingRead] = []
    if found:
        explained = explainable(predictor, found, labels) if explain else None
        with _told(nothing, rejected):
            done, left_out = _of_images(config, model, predictor, found, out, explained)
            results |= done
            rejected += left_out
    if videos:
        with _told(nothing, rejected):
            results["videos"], left_out = _of_videos(config, predictor, videos, out, track)
            rejected += left_out
    if len(nothing) == bool(found) + bool(videos):
        raise nothing[0]
    if videos:  # of images alone it was listed with people.json
        too_many(out, rejected, config.predict.max_rejected)
        list_rejected(out, rejected)
    return results | ({"left_out": {each.file: each.detail for each in rejected}} if rejected else {})


def _check_paths(out: Path, labels: Path | None, explain: bool, videos: Sequence[str]) -> None:
    """Raise `UserError` where a prediction cannot begin with these; arguments as in `run_prediction`."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out}: a file is there: name a folder")
    if labels is not None and not explain:
        raise UserError(f"--labels={labels}: only --explain looks at labels: add it")
    for place in videos:
        if is_file_name(place) and not as_path(Path(place)).is_file():
            raise UserError(f"{place}: no such file: name a video, a camera's number or a stream's address")


@contextmanager
def _told(nothing: list[NothingRead], rejected: list[Rejected]) -> Iterator[None]:
    """What ends images ends no videos, and the other way round: it is put with the others."""
    try:
        yield
    except NothingRead as error:
        nothing.append(error)
        rejected += error.rejected


def _of_images(
    config: RunConfig,
    model: ModelPlan,
    predictor: Predictor,
    sources: list[Source],
    out: Path,
    labels: "dict[Source, CocoImage | None] | None",
) -> tuple[dict[str, Any], list[Rejected]]:
    settings, work = config.predict, None
    if settings.num_workers:
        from pipeline.prediction.on_ray import work_on_ray  # Ray is needed for this alone

        work = partial(work_on_ray, model, settings.num_workers)
    done = predict_images(
        predictor,
        sources,
        out,
        batch_size=config.evaluate.batch_size,
        max_pixels=settings.max_pixels,
        min_score=settings.min_score,
        max_rejected=settings.max_rejected,
        pictures=settings.pictures,
        labels=labels,
        shard_images=settings.shard_images,
        identity=model.identity(),
        work=work,
    )
    places = {
        "people_file": str(out / "people.json"),
        **({"pictures": str(out / "pictures")} if settings.pictures else {}),
        **({"explained": str(out / "explained")} if labels is not None else {}),
    }
    return places | done.counts, done.rejected


def _of_videos(
    config: RunConfig, predictor: Predictor, places: list[str], out: Path, track: bool
) -> tuple[dict[str, Any], list[Rejected]]:
    """What came of each video by its name; one that cannot be read is told, and ends nothing but itself.

    Raises `NothingRead` where none can.
    """
    settings = config.predict
    following = Following(settings.track_oks, settings.track_frames, settings.smooth, settings.smooth_beta)
    done: dict[str, Any] = {}
    rejected: list[Rejected] = []
    for place, name in zip(places, video_names(places), strict=True):
        try:
            with _within_reach(place) as reached:
                done[name] = predict_video(
                    predictor,
                    reached,
                    out,
                    name,
                    batch_size=config.evaluate.batch_size,
                    min_score=settings.min_score,
                    following=following if track else None,
                    most_frames=settings.max_frames,
                    draw=settings.video,
                )
        except BadVideo as error:
            log.warning("predict: %s is left out: %s", place, error)
            rejected.append(Rejected(place, error.reason, str(error)))
    if not done:
        raise NothingRead(rejected, "videos")
    return done, rejected


@contextmanager
def _within_reach(place: str) -> Iterator[str]:
    """A video that OpenCV can open: one in a store is copied here for the time."""
    if not is_file_name(place):
        yield place
        return
    with local_copy(as_path(Path(place))) as file:
        yield str(file)


def model_plan(config: RunConfig, checkpoint: Path | None, overrides: Sequence[str] | None) -> ModelPlan:
    """The model that predicts or is served; arguments and errors as in `run_prediction`."""
    if checkpoint is None and overrides is not None:
        checkpoint = _shipped_instead(config)
    file = local_model(config, checkpoint) if checkpoint else model_file(config)
    settings = config.model
    if checkpoint and overrides is not None:
        settings = saved_model_settings(file, config.model, flat(read_overrides(overrides)))
    return ModelPlan(file, settings, config.inference, config.train)


def _images(config: RunConfig, words: Sequence[str | Path], recursive: bool) -> list[Source]:
    if words:
        return find_sources(words, recursive)
    return find_sources([_validation(config)])[: config.evaluate.pictures]


def _validation(config: RunConfig) -> Path:
    return image_folder(config.data, config.data.val_split)


def _shipped_instead(config: RunConfig) -> Path | None:
    """The model that comes along, where settings name none and none was trained with them; else None."""
    if config.evaluate.checkpoint or default_model(config).is_file() or (shipped := shipped_model()) is None:
        return None
    log.info("predict: no model is named: taking the small one that comes along, %s", shipped)
    return shipped
