"""Samples on disk for the training loop, drawn without photographs or annotations."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hgg.pictures import encode_jpeg
from hgg.targets import encode_heatmaps
from pipeline.data.rows import pack_mask
from pipeline.synthetic.backgrounds import draw_background
from tests.benchmarks.crowds import CELLS, make_crowd
from tests.cases.samples import write_files

PEOPLE = 5
SIGMA = 2.0  # cells; data.sigma
QUALITY = 95  # data.jpeg_quality
GRAIN = 12.0  # of noise, so that a JPEG is as long as a photograph's and takes as long to decode
SHARDS, ROW_GROUP = 4, 16


def draw_samples(folder: Path, samples: int, input_size: int, output_size: int) -> Path:
    """So many samples of five people each, several row groups of them; returns the folder.

    Nothing is done where it is there already.
    """
    if not folder.exists():
        rows = [_sample(number, input_size, output_size) for number in range(samples)]
        files = [rows[first::SHARDS] for first in range(SHARDS)]
        write_files(folder, files, ROW_GROUP, input_size, output_size)
    return folder


def _sample(number: int, input_size: int, output_size: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    picture = draw_background(input_size, input_size, rng) + _grain(input_size, rng)
    crowd = make_crowd(PEOPLE, number, visual_dim=1)
    scale = output_size / CELLS
    joints_PJ3 = crowd.joints * np.array([scale, scale, 1], np.float32)
    heatmaps = encode_heatmaps(joints_PJ3, output_size, SIGMA)
    return {
        "image_id": number,
        "view": 0,
        "jpeg": encode_jpeg(picture.clip(0, 255).astype(np.uint8), QUALITY),
        "heatmaps": np.rint(255 * heatmaps).astype(np.uint8).tobytes(),
        "mask": pack_mask(np.ones((output_size, output_size), bool)),
        "joints": joints_PJ3.ravel(),
        "areas": (crowd.targets.areas[0].numpy() * scale**2),
        "transform": np.array((1, 0, 0, 0, 1, 0), float),
    }


def _grain(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size, 3); noise of about a pixel's width."""
    return cv2.GaussianBlur(rng.normal(0, GRAIN, (size, size, 3)).astype(np.float32), (0, 0), 0.8)
