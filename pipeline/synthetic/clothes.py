"""Colours and clothes of the synthetic people."""

from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]

SKINS = ((246, 208, 177), (224, 172, 136), (198, 134, 92), (141, 85, 54), (92, 58, 40))
HAIRS = ((30, 24, 22), (80, 50, 30), (140, 90, 45), (220, 185, 110), (150, 60, 30), (190, 190, 190))


class Clothes(NamedTuple):
    """Colours (red, green, blue, 0 to 255) and cut."""

    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    shoes: Colour
    collar: Colour
    sleeves: bool
    """Whether the sleeves reach the wrist."""
    shorts: bool
    """Whether the trousers end at the knee."""


def random_clothes(rng: np.random.Generator) -> Clothes:
    """Random colours; shirt and trousers from the whole hue circle."""
    return Clothes(
        shirt=_random_colour(rng, 0.35, 0.95),
        trousers=_random_colour(rng, 0.2, 0.7),
        skin=_jittered(SKINS[rng.integers(len(SKINS))], rng),
        hair=_jittered(HAIRS[rng.integers(len(HAIRS))], rng),
        shoes=_random_colour(rng, 0.1, 0.9),
        collar=_random_colour(rng, 0.7, 1.0),
        sleeves=bool(rng.random() < 0.4),
        shorts=bool(rng.random() < 0.3),
    )


def shaded(colour: Colour, factor: float) -> Colour:
    """The same colour, darker by a factor below 1."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _jittered(colour: tuple[int, int, int], rng: np.random.Generator) -> Colour:
    r, g, b = np.clip(np.asarray(colour) * rng.uniform(0.88, 1.1) + rng.uniform(-6, 6, 3), 0, 255)
    return float(r), float(g), float(b)


def _random_colour(rng: np.random.Generator, dark: float, bright: float) -> Colour:
    """A colour of random hue, saturation and brightness between two shares."""
    hue, saturation, value = rng.uniform(0, 6), rng.uniform(0.15, 0.95), 255 * rng.uniform(dark, bright)
    ramp = np.clip(np.abs((hue + np.array((0, 4, 2))) % 6 - 3) - 1, 0, 1)
    r, g, b = value * (1 - saturation + saturation * ramp)
    return float(r), float(g), float(b)
