"""What somebody who has a model's exported file alone must know of it, as plain values."""

import importlib.metadata
from math import isqrt
from typing import Any

import torch

from hgg.config import NUM_STRIDE, ModelConfig


def about(config: ModelConfig, number: int, *, half: bool) -> dict[str, Any]:
    """What somebody who has the file alone must know."""
    joints, network = config.joints, config.network
    told: dict[str, Any] = {
        "made by": f"hgg {importlib.metadata.version('hgg')}, torch {torch.__version__}",
        "pictures": {
            "colours": "RGB, 0 to 1, no other normalisation",
            "side": network.input_size,
            "sides are multiples of": network.step,
            "sides are at least": least_steps(config) * network.step,
            "fit": "a photograph's longer side as long as the picture's, in the middle of black",
        },
        "pixels a cell": NUM_STRIDE,
        "precision": "weights in float16, computed with in float32" if half else "float32",
        "joints": {
            "names": [*joints.names],
            "limbs": [[*limb] for limb in joints.limbs],
            "flipped": [*joints.flip_index],
            "oks sigmas": [*joints.sigmas],
        },
        "candidate threshold": config.candidates.threshold,
    }
    if number:
        told["candidates"] = number
        told["inside"] = "1 for cells of the photograph, 0 for those of what fills the picture up"
        told["people"] = (
            "candidates of one member are one person; its score is the sum of their scores divided by the "
            "number of joints, times the confidence at the place that member names"
        )
    return told


def least_steps(config: ModelConfig) -> int:
    """Of how many of the network's steps a picture's sides are at least: a map has a cell for each candidate
    of a type."""
    cells = config.network.step // NUM_STRIDE
    return -(-(isqrt(max(0, config.candidates.per_type - 1)) + 1) // cells)
