"""Textured backgrounds of the synthetic data set."""

import cv2
import numpy as np

Array = np.ndarray


def draw_background(width: int, height: int, rng: np.random.Generator) -> Array:
    """A float32 (height, width, 3) picture in 0 to 255: base, shapes, limb-like clutter, grain."""
    base = (_gradient, _clouds, _stripes, _tiles)[rng.integers(4)]
    picture = np.ascontiguousarray(base(width, height, rng), np.float32)
    for _ in range(rng.integers(0, 7)):
        _shape(picture, rng)
    for _ in range(rng.integers(0, 5)):
        _bar(picture, rng)
    grain = rng.integers(-8, 9, (height, width, 1), dtype=np.int8).astype(np.float32)
    return np.clip(picture + grain * rng.uniform(0.2, 1.2), 0, 255)


def _colour(rng: np.random.Generator) -> Array:
    """A muted colour: half way between a random one and its own grey."""
    colour = rng.uniform(30, 230, 3)
    return (0.5 * colour + 0.5 * colour.mean()).astype(np.float32)


def _gradient(width: int, height: int, rng: np.random.Generator) -> Array:
    """Two colours over a slanted line."""
    angle = rng.uniform(0, np.pi)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
    share = np.clip(x * np.cos(angle) + y * np.sin(angle) + 0.5, 0, 1)[..., None].astype(np.float32)
    return share * _colour(rng) + (1 - share) * _colour(rng)


def _clouds(width: int, height: int, rng: np.random.Generator) -> Array:
    """Smooth noise of two grain sizes around a colour."""
    picture = np.zeros((height, width, 3), np.float32) + _colour(rng)
    for cells, strength in ((rng.integers(3, 7), 35.0), (rng.integers(12, 40), 18.0)):
        grey = rng.normal(0, strength, (int(cells), int(cells), 1))
        noise = (grey + rng.normal(0, 0.4 * strength, (*grey.shape[:2], 3))).astype(np.float32)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return picture


def _stripes(width: int, height: int, rng: np.random.Generator) -> Array:
    """Two colours in waves."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(12, 60)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    share = np.clip(0.5 + rng.uniform(0.5, 4) * wave, 0, 1)[..., None].astype(np.float32)
    first = _colour(rng)
    second = 0.6 * first + 0.4 * _colour(rng)
    return share * first + (1 - share) * second


def _tiles(width: int, height: int, rng: np.random.Generator) -> Array:
    """A wall of tiles, each a little different, above a floor."""
    rows, columns = (int(n) for n in rng.integers(4, 14, 2))
    noise = rng.normal(0, 14, (rows, columns, 1)).astype(np.float32)
    wall = cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)[..., None] + _colour(rng)
    wall[int(height * rng.uniform(0.55, 0.9)) :] = _colour(rng)
    return wall


def _shape(picture: Array, rng: np.random.Generator) -> None:
    """An ellipse or a box somewhere."""
    height, width = picture.shape[:2]
    centre = (int(rng.integers(width)), int(rng.integers(height)))
    half = tuple(int(n) for n in rng.integers(8, 55, 2))
    angle, colour = float(rng.uniform(0, 180)), tuple(float(c) for c in _colour(rng))
    if rng.random() < 0.5:
        cv2.ellipse(picture, centre, half, angle, 0, 360, colour, cv2.FILLED, cv2.LINE_AA)
    else:
        corners = cv2.boxPoints((centre, (2.0 * half[0], 2.0 * half[1]), angle))
        cv2.fillConvexPoly(picture, np.rint(corners).astype(np.int32), colour, cv2.LINE_AA)


def _bar(picture: Array, rng: np.random.Generator) -> None:
    """A pole or a branch, as wide as a limb."""
    height, width = picture.shape[:2]
    ends = rng.integers((0, 0), (width, height), (2, 2))
    colour = tuple(float(c) for c in rng.uniform(20, 235, 3))
    first, second = (tuple(int(c) for c in end) for end in ends)
    cv2.line(picture, first, second, colour, int(rng.integers(2, 14)), cv2.LINE_AA)
