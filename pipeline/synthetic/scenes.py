"""Scenes of the synthetic data set: who stands where, who hides whom, what is annotated.

COCO's rules: flag 2 a visible joint, 1 a hidden one, 0 (with x = y = 0) one that is outside
the picture or turned away; a person too small or too hidden carries no keypoints; a dense
group of small people is one annotation with `iscrowd` 1 and an uncompressed RLE.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

from pipeline.settings.data import SyntheticConfig
from pipeline.synthetic.backgrounds import draw_background
from pipeline.synthetic.bodies import random_body
from pipeline.synthetic.clothes import Clothes, random_clothes
from pipeline.synthetic.figures import Figure, draw_figure

Array = np.ndarray

SMALLEST_AREA = 32.0**2  # pixels; COCO annotates no keypoints below (area ranges of the keypoint task)
SMALLEST_SHARE = 0.3  # of the silhouette; a person more hidden than this carries no keypoints
GUESSED_WITHIN = 0.2  # of the root of the visible area: about a third of an upper arm
CROWD = -1  # group of the crowd's members


class Place(NamedTuple):
    """Where a person stands."""

    x: float
    y: float
    height: float
    group: int
    """Number of the group that the person belongs to, or `CROWD`."""


class Scene(NamedTuple):
    """A picture and its annotations, without ids."""

    image: Array
    """(H, W, 3) uint8 RGB."""
    annotations: list[dict[str, Any]]


def draw_scene(settings: SyntheticConfig, rng: np.random.Generator) -> Scene:
    """Draw one scene; everything in it is a function of `settings` and the generator's state."""
    width, height = _size(settings, rng)
    picture = draw_background(width, height, rng)
    owner = np.full((height, width), -1, np.int64)
    figures: list[Figure] = []
    groups: list[int] = []
    outfits: dict[int, Clothes] = {}
    for place in _places(settings, width, height, rng):
        clothes = random_clothes(rng)
        if place.group in outfits and rng.random() < settings.similar_clothes:
            clothes = outfits[place.group]._replace(skin=clothes.skin, hair=clothes.hair)
        outfits.setdefault(place.group, clothes)
        pelvis = np.array((place.x, place.y - 0.5 * place.height))
        figure = draw_figure(
            random_body(settings.facing_share, rng), clothes, pelvis, place.height, (width, height)
        )
        if figure is not None:
            _paint(picture, owner, figure, len(figures))
            figures.append(figure)
            groups.append(place.group)
    if rng.random() < settings.occluder_share:
        _paint_occluder(picture, owner, rng)
    image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return Scene(image, _annotations(figures, groups, owner))


def _size(settings: SyntheticConfig, rng: np.random.Generator) -> tuple[int, int]:
    long = int(rng.integers(settings.size_min, settings.size_max + 1))
    short = round(0.75 * long)
    return (short, long) if rng.random() < 0.4 else (long, short)


def _places(settings: SyntheticConfig, width: int, height: int, rng: np.random.Generator) -> list[Place]:
    """Feet positions from the farthest to the nearest: crowd, far people, then the groups."""
    places = []
    if rng.random() < settings.crowd_share:
        places += _crowd(width, height, rng)
    if rng.random() < settings.far_share:
        for group in range(100, 100 + int(rng.integers(1, 4))):
            feet = rng.uniform((0, 0.3 * height), (width, 0.7 * height))
            places.append(Place(feet[0], feet[1], rng.uniform(24, 42), group))
    if rng.random() < settings.empty_share:
        return places
    near: list[Place] = []
    for group in range(2 if rng.random() < 0.3 else 1):
        near += _group(settings, width, height, group, rng)
    return places + sorted(near[: settings.max_people], key=lambda p: p.y)


def _crowd(width: int, height: int, rng: np.random.Generator) -> list[Place]:
    """Ten to twenty small people side by side, in two or three rows."""
    tall = rng.uniform(28, 42)
    count = int(rng.integers(10, 20))
    left, top = rng.uniform(0, 0.6 * width), rng.uniform(0.25, 0.5) * height
    x = left + np.arange(count) % 8 * tall * 0.32 + rng.uniform(-3, 3, count)
    y = top + np.arange(count) // 8 * tall * 0.3 + rng.uniform(-3, 3, count)
    return [Place(x[k], y[k], tall * rng.uniform(0.9, 1.1), CROWD) for k in range(count)]


def _group(
    settings: SyntheticConfig, width: int, height: int, group: int, rng: np.random.Generator
) -> list[Place]:
    """One to four people who overlap, about equally tall."""
    count = 1 + int(rng.choice(4, p=(0.3, 0.32, 0.23, 0.15)))
    low, high = np.log(settings.height_min), np.log(min(settings.height_max, 1.1 * height))
    tall = float(np.exp(rng.uniform(low, high)))
    gaps = rng.uniform(0.12, 0.42, count) * tall
    x = np.cumsum(gaps) - gaps.sum() / 2 + rng.uniform(0.15, 0.85) * width
    feet = rng.uniform(min(1.02 * tall, 0.95 * height), 1.05 * max(height, tall))
    y = feet + rng.uniform(-0.07, 0.07, count) * tall
    places = [Place(x[k], y[k], tall * rng.uniform(0.88, 1.12), group) for k in range(count)]
    return [places[k] for k in rng.permutation(count)]


def _paint(picture: Array, owner: Array, figure: Figure, number: int) -> None:
    """Lay a figure over the picture; its pixels are those that it covers by more than a half."""
    x, y = figure.corner
    h, w = figure.alpha.shape
    window = (slice(y, y + h), slice(x, x + w))
    picture[window] = picture[window] * (1 - figure.alpha[..., None]) + figure.paint
    owner[window][figure.alpha > 0.5] = number


def _paint_occluder(picture: Array, owner: Array, rng: np.random.Generator) -> None:
    """A box (a table, a sign) in front of everybody."""
    height, width = owner.shape
    w, h = int(rng.integers(20, 80)), int(rng.integers(15, 60))
    x, y = int(rng.integers(0, width - w)), int(rng.integers(height // 3, height - h))
    picture[y : y + h, x : x + w] = rng.uniform(20, 230, 3)
    cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), (30.0, 30.0, 30.0), 1)
    owner[y : y + h, x : x + w] = -1


def _annotations(figures: list[Figure], groups: list[int], owner: Array) -> list[dict[str, Any]]:
    rows = []
    crowd = np.zeros(owner.shape, bool)
    for number, (figure, group) in enumerate(zip(figures, groups, strict=True)):
        mask = owner == number
        if group == CROWD:
            crowd |= mask
        elif mask.any():
            rows.append(_person(figure, mask))
    if crowd.any():
        closed = cv2.morphologyEx(crowd.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        rows.append(_crowd_annotation((closed > 0) & ((owner == -1) | crowd)))
    return [row for row in rows if row["segmentation"]]


def _person(figure: Figure, mask: Array) -> dict[str, Any]:
    """The annotation of one person from its visible pixels."""
    area = int(mask.sum())
    labelled = area >= SMALLEST_AREA and area >= SMALLEST_SHARE * float((figure.alpha > 0.5).sum())
    keypoints = _keypoints(figure, mask) if labelled else [0] * 51
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return {
        "segmentation": [[int(v) for v in line.reshape(-1)] for line in outlines if len(line) >= 3],
        "num_keypoints": sum(1 for flag in keypoints[2::3] if flag > 0),
        "area": area,
        "iscrowd": 0,
        "keypoints": keypoints,
        "bbox": _box(mask),
        "category_id": 1,
    }


def _keypoints(figure: Figure, mask: Array) -> list[float]:
    """COCO's 51 numbers: joints covered by something nearer than the person become hidden ones.

    A joint far from everything that is seen of the person is left out, as an annotator would.
    """
    height, width = mask.shape
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    reach = GUESSED_WITHIN * np.sqrt(mask.sum())
    values: list[float] = []
    for (x, y), flag in zip(figure.joints, figure.visibility, strict=True):
        column, row = round(float(x)), round(float(y))
        inside = 0 <= column < width and 0 <= row < height
        if flag == 0 or not inside or distance[row, column] > reach:
            values += [0, 0, 0]
        else:
            shown = 2 if flag == 2 and mask[row, column] else 1
            values += [round(float(x), 1), round(float(y), 1), shown]
    return values


def _crowd_annotation(mask: Array) -> dict[str, Any]:
    """A group of people as one region (COCO's uncompressed RLE: column by column, background first)."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return {
        "segmentation": {"counts": ([0] if flat[0] else []) + counts, "size": list(mask.shape)},
        "num_keypoints": 0,
        "area": int(mask.sum()),
        "iscrowd": 1,
        "keypoints": [0] * 51,
        "bbox": _box(mask),
        "category_id": 1,
    }


def _box(mask: Array) -> list[int]:
    """x, y, width, height of the pixels that are set."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
