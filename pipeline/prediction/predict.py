"""Photographs to people: one JSON file in COCO's annotation format, and one picture an image."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, count
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hgg.coco import annotations, category, image_entry
from hgg.draw import draw_poses
from hgg.explain_page import why_not
from hgg.pictures import LONGEST_JPEG_SIDE, BadPicture, decode_picture, picture_size
from hgg.poses import Poses
from hgg.predictor import Predictor
from pipeline.base.errors import UserError, first_line
from pipeline.base.files import write_json
from pipeline.base.progress import Progress, chunks
from pipeline.data.picture_file import write_picture
from pipeline.prediction.explain import explain

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif")
"""Files that are taken for images; OpenCV cannot read all of them everywhere, and then they are left out."""


def find_images(source: Path) -> list[Path]:
    """An image file, or what a folder holds by an image's name (not what is in the folders in it).

    Raises:
        UserError: nothing there, or a folder without images.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder: name an image or a folder of images")
    images = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise UserError(f"{source}: no image in this folder (looked for {', '.join(SUFFIXES)})")
    return images


def readable(images: list[Path], max_pixels: int | None = None) -> tuple[list[Path], dict[str, str]]:
    """The images that decode, and why each of the others is left out, by file name; each is decoded once.

    Args:
        images: files.
        max_pixels: what a larger one has in its header is not decoded; None is no limit.

    Raises:
        UserError: none of them decodes.
    """
    left_out: dict[str, str] = {}
    for path in images:
        try:
            _read(path, max_pixels)
        except UserError as error:
            left_out[path.name] = str(error).removeprefix(f"{path}: ")
    kept = [path for path in images if path.name not in left_out]
    if not kept:
        name, why = next(iter(left_out.items()))
        others = f" (and {len(left_out) - 1} more, none of which can be read)" if len(left_out) > 1 else ""
        raise UserError(f"{images[0].with_name(name)}: {why}{others}")
    return kept, left_out


def explainable(
    predictor: Predictor, images: list[Path], labels: Path | None
) -> "dict[Path, CocoImage | None]":
    """The images with their labels, None without a file of them, before anything is written.

    Args:
        labels: COCO keypoint annotation file, whose images are found by their file names.

    Raises:
        UserError: settings without rounds to show, an image that no page can hold, labels that are missing,
            or an image that is not in them.
    """
    if problem := why_not(predictor):
        raise UserError(f"--explain: {problem}")
    for path in images:
        if max(size := picture_size(path.read_bytes()) or (0, 0)) > LONGEST_JPEG_SIDE:
            raise UserError(
                f"--explain: {path} is {size[0]} x {size[1]}, a page holds {LONGEST_JPEG_SIDE} a side at the "
                "most: leave it out, or cut it"
            )
    if labels is None:
        return dict.fromkeys(images)
    # Imported here as nothing else of a prediction needs what reads labels: pyarrow and pycocotools.
    from pipeline.prediction.labels import read_labels

    known = read_labels(labels, predictor.model.config.joints)
    unknown = [path.name for path in images if path.name not in known]
    if unknown:
        raise UserError(f"--labels={labels}: no image {unknown[0]} in it: give its labels, or leave them out")
    return {path: known[path.name] for path in images}


def explain_images(
    predictor: Predictor,
    images: "Mapping[Path, CocoImage | None]",
    folder: Path,
    max_pixels: int | None = None,
) -> None:
    """Write a strip and a page of each image's grouping into a folder; images and labels of `explainable`."""
    names = _picture_names([*images])
    for (path, label), name in zip(images.items(), names, strict=True):
        explain(predictor, _read(path, max_pixels), Path(name).stem, folder, label)


def predict_images(
    predictor: Predictor,
    images: list[Path],
    out: Path,
    *,
    batch_size: int,
    max_pixels: int | None = None,
    min_score: float = 0.0,
) -> dict[str, int]:
    """Write {out}/people.json, last, and {out}/pictures/{name}.png, of images that are `readable`.

    people.json is a COCO annotation file: `images` (id from 1, file_name, width, height), `annotations` (one
    a person, the best of an image first: keypoints with flag 2, or 0, 0, 0 where the joint is missing;
    num_keypoints, score, keypoint_scores, the bbox around the joints and its area) and `categories`. A
    photograph is read upright, as its orientation tag says, and positions are pixels of the upright picture.

    Args:
        predictor: finds the people.
        images: files, each whole.
        out: folder.
        batch_size: images that go through the network together at the most.
        max_pixels: that the images of a batch have together at the most; None is no limit.
        min_score: people of a lower score are neither written nor drawn.

    Returns:
        Counts: images, people, people_below_min_score.

    Raises:
        UserError: an image that does not decode.
    """
    names = _picture_names(images)
    skeleton = predictor.model.config.joints
    entries: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    progress, below = Progress("predict", len(images)), 0
    for paths in _batches(images, batch_size, max_pixels):
        pictures = [_read(path, max_pixels) for path in paths]
        for path, picture, everybody in zip(paths, pictures, predictor.predict(pictures), strict=True):
            likely_P = everybody.score >= min_score
            poses = Poses(everybody.keypoints[likely_P], everybody.score[likely_P])
            below += int((~likely_P).sum())
            drawn = draw_poses(picture, poses, skeleton=skeleton, min_score=min_score)
            write_picture(out / "pictures" / names[len(entries)], drawn)
            entries.append(image_entry(len(entries) + 1, path.name, picture))
            people += annotations(entries[-1]["id"], len(people) + 1, poses)
        progress.add(len(paths))
    found = {"images": entries, "annotations": people, "categories": [category(skeleton)]}
    write_json(out / "people.json", found)
    return {"images": len(entries), "people": len(people), "people_below_min_score": below}


def _batches(images: list[Path], batch_size: int, max_pixels: int | None) -> Iterator[list[Path]]:
    """The images in their order; one that is as large as a batch may be is one alone."""
    if max_pixels is None:
        yield from chunks(images, batch_size)
        return
    batch: list[Path] = []
    pixels = 0
    for path in images:
        own = prod(picture_size(path.read_bytes()) or (max_pixels, 1))
        if batch and (len(batch) == batch_size or pixels + own > max_pixels):
            yield batch
            batch, pixels = [], 0
        batch.append(path)
        pixels += own
    if batch:
        yield batch


def _read(path: Path, max_pixels: int | None) -> np.ndarray:
    try:
        return decode_picture(path.read_bytes(), upright=True, max_pixels=max_pixels)
    except BadPicture as error:
        if error.reason == "too_large":
            raise UserError(f"{path}: {error}: make it smaller, or raise predict.max_pixels") from error
        raise UserError(f"{path}: not a whole picture: {error}: remove or replace it") from error
    except OSError as error:  # a folder, or a link that leads nowhere
        raise UserError(f"{path}: {error.strerror or first_line(error)}: remove or replace it") from error


def _picture_names(images: list[Path]) -> list[str]:
    """Each image's name with .png; with its own suffix before where another is named alike; no name twice."""
    stems, names = Counter(path.stem for path in images), dict[str, None]()
    for path in images:
        plain = path.stem if stems[path.stem] == 1 else path.name
        more = (f"{path.name}-{number}" for number in count(2))
        names[next(f"{name}.png" for name in chain([plain], more) if f"{name}.png" not in names)] = None
    return [*names]
