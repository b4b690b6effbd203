"""One view of one record: network input, heatmaps, mask, joints and areas (stage 2, without Ray).

Letters: J joint types, P people, S side of the output maps in cells.
"""

from typing import Any, NamedTuple

import numpy as np

from hgg import transform as geometry
from hgg.config import NetworkConfig
from hgg.pictures import decode_picture, encode_jpeg
from hgg.skeleton import NUM_JOINTS
from hgg.targets import encode_heatmaps
from pipeline.data.regions import to_mask
from pipeline.data.rows import pack_mask
from pipeline.settings.data import DataConfig

HEATMAP_ONE = 255  # what the value 1.0 is stored as


class Labels(NamedTuple):
    """What is known about a view, in output cells.

    Attributes:
        joints: (P, J, 3) float32; x, y and a flag: 1 labelled and inside the map, else 0.
        areas: (P,) float32 in cells squared.
        mask: (S, S) bool; True where heatmaps are supervised.
    """

    joints: np.ndarray
    areas: np.ndarray
    mask: np.ndarray


def encode_view(
    record: dict[str, Any],
    rng: np.random.Generator,
    view: int,
    data: DataConfig,
    network: NetworkConfig,
    picture: np.ndarray | None = None,
) -> dict[str, Any]:
    """Encode a view of a record as a row of `rows.SAMPLE_SCHEMA`.

    Args:
        record: a row of `rows.RECORD_SCHEMA`.
        rng: source of the augmentation, as `view_rng` makes it; view 0 draws nothing.
        view: 0 is un-augmented.
        picture: the record's picture (H, W, 3), where the caller has decoded it already.

    Raises `BadData` where the picture does not decode.
    """
    if picture is None:
        picture = decode_picture(record["jpeg"])
    width, height, size = record["width"], record["height"], network.input_size
    if view == 0:
        transform = geometry.letterbox(width, height, size)
    else:
        transform = random_transform(width, height, size, rng, data)
    labels = to_labels(record, transform, network.output_size)
    heatmaps = encode_heatmaps(labels.joints, network.output_size, data.sigma)
    return {
        "image_id": record["image_id"],
        "view": view,
        "jpeg": encode_jpeg(geometry.warp(picture, transform, size), data.jpeg_quality),
        "heatmaps": np.rint(heatmaps * HEATMAP_ONE).astype(np.uint8).tobytes(),
        "mask": pack_mask(labels.mask),
        "joints": labels.joints.ravel(),
        "areas": labels.areas,
        "transform": transform.ravel(),
    }


def to_labels(
    record: dict[str, Any],
    transform: np.ndarray,
    columns: int,
    rows: int | None = None,
    *,
    joint_types: int = NUM_JOINTS,
) -> Labels:
    """People and mask of a record under a transform (2, 3) from original to input pixels.

    The output maps have so many columns and rows of cells; without `rows` they are square. `joint_types` is
    J where there is nobody to tell it.
    """
    size = (columns, rows or columns)
    joints = _joints(record["people"], transform, size, joint_types)
    pixels = np.array([person["area"] for person in record["people"]], np.float64)
    areas = (pixels * geometry.area_ratio(transform)).astype(np.float32)
    return Labels(joints, areas, _mask(record["ignore"], transform, size))


def random_transform(
    width: int, height: int, input_size: int, rng: np.random.Generator, data: DataConfig
) -> np.ndarray:
    """AE's augmentation: rotation, scale and shift, each uniform in its range."""
    return geometry.augmented(
        width,
        height,
        input_size,
        angle=rng.uniform(-data.rotation, data.rotation),
        scale=rng.uniform(data.scale_min, data.scale_max),
        shift_x=rng.uniform(-data.shift, data.shift),
        shift_y=rng.uniform(-data.shift, data.shift),
    )


def _joints(
    people: list[dict[str, Any]], transform: np.ndarray, size: tuple[int, int], joint_types: int
) -> np.ndarray:
    """(P, J, 3) in cells; joints that are not labelled or fall outside the map are all zeros."""
    if not people:
        return np.zeros((0, joint_types, 3), np.float32)
    original = np.array([person["keypoints"] for person in people], np.float64).reshape(len(people), -1, 3)
    cells = geometry.to_cells(geometry.apply(transform, original[..., :2])).astype(np.float32)
    inside = ((cells >= -0.5) & (cells < np.array(size) - 0.5)).all(axis=-1)
    flags = inside & (original[..., 2] > 0)  # COCO's 1 (hidden) and 2 (visible) are labels alike
    return np.concatenate([cells, np.ones_like(cells[..., :1])], axis=-1) * flags[..., None]


def _mask(ignore: dict[str, Any], transform: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(S, S) bool; True where most of the cell shows the photograph outside its ignore region."""
    supervised = (1 - to_mask(ignore)) * np.uint8(255)
    return geometry.warp(supervised, geometry.into_cells(transform), *size) > 127
