"""pipeline.data.encode: a small view worked out by hand, and the picture against the labels."""

from typing import Any

import numpy as np
import pytest

from hgg.config import NetworkConfig
from hgg.pictures import BadPicture, decode_picture, encode_jpeg
from hgg.skeleton import NUM_JOINTS
from hgg.transform import letterbox, to_pixels
from pipeline.base.seeds import view_rng
from pipeline.data.encode import encode_view, to_labels
from pipeline.data.regions import to_regions, union
from pipeline.data.rows import unpack_mask
from pipeline.settings.data import DataConfig

WIDTH, HEIGHT, INPUT, CELLS = 64, 32, 32, 8
NETWORK = NetworkConfig(input_size=INPUT, depth=3)
DATA = DataConfig(sigma=1.0)
SEED = 5


def person(*joints: tuple[float, float, int], area: float = 100.0) -> dict[str, Any]:
    keypoints = [value for joint in joints for value in joint] + [0] * (3 * (NUM_JOINTS - len(joints)))
    return {"annotation_id": 1, "keypoints": keypoints, "box": [0, 0, 9, 9], "area": area}


def make_record(*people: dict[str, Any], ignored: list[float] | None = None) -> dict[str, Any]:
    """A black picture of 64 x 32, with a region to ignore given as a polygon."""
    polygons = to_regions([ignored], np.zeros(4), WIDTH, HEIGHT, 100) if ignored else []
    return {
        "image_id": 7,
        "width": WIDTH,
        "height": HEIGHT,
        "jpeg": encode_jpeg(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 95),
        "people": list(people),
        "ignore": union(polygons, WIDTH, HEIGHT),
    }


def encode(record: dict[str, Any], view: int = 0, data: DataConfig = DATA) -> dict[str, Any]:
    return encode_view(record, view_rng(SEED, record["image_id"], view), view, data, NETWORK)


def joints_of(row: dict[str, Any]) -> np.ndarray:
    return row["joints"].reshape(-1, NUM_JOINTS, 3)


def heatmaps_of(row: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(row["heatmaps"], np.uint8).reshape(NUM_JOINTS, CELLS, CELLS)


def test_joints_and_heatmaps_by_hand() -> None:
    # 64 x 32 into 32: zoom 0.5, 8 black rows above. (21, 9) -> input (10.25, 12.25) -> cell (2.1875, 2.6875).
    row = encode(make_record(person((21, 9, 2))))
    assert joints_of(row)[0, 0].tolist() == [2.1875, 2.6875, 1]
    nose = heatmaps_of(row)[0]
    assert nose[3, 2] == 239  # 255 exp(-(0.1875^2 + 0.3125^2) / 2) = 238.6
    assert nose[2, 2] == 198  # 255 exp(-(0.1875^2 + 0.6875^2) / 2) = 197.8
    assert nose[3, 4] == 47  # 255 exp(-(1.8125^2 + 0.3125^2) / 2) = 47.0
    assert not heatmaps_of(row)[1:].any()


def test_hidden_joints_are_labels_and_unlabelled_ones_are_zeros() -> None:
    joints = joints_of(encode(make_record(person((21, 9, 1), (30, 9, 0)))))
    assert joints[0, 0, 2] == 1
    assert not joints[0, 1:].any()


def test_joints_outside_the_map_have_no_flag() -> None:
    # Moved right by 24 input pixels, the right half of the picture leaves the input.
    shifted = letterbox(WIDTH, HEIGHT, INPUT) + [[0, 0, 24], [0, 0, 0]]
    record = make_record(person((15.4, 9, 2), (15.6, 9, 2), (63, 9, 2)))
    labels = to_labels(record, shifted, CELLS)
    assert labels.joints[0, :4, 2].tolist() == [1, 0, 0, 0]
    assert labels.joints[0, 0, 0] == pytest.approx(7.4875)  # 0.0125 cells before the edge at 7.5
    assert not labels.joints[0, 1:].any()


def test_areas_are_in_cells() -> None:
    record = make_record(person((21, 9, 2)), person((21, 9, 2), area=64.0))
    assert encode(record)["areas"].tolist() == [1.5625, 1.0]  # 0.5 x 0.5 pixels per pixel, 16 pixels per cell


def test_the_mask_leaves_out_black_margins_and_the_ignored_region() -> None:
    # The picture covers the cell rows 2 to 5. The ignored region covers its left half, 4 of 8 cell columns.
    row = encode(make_record(ignored=[0, 0, 32, 0, 32, 32, 0, 32]))
    expected = np.zeros((CELLS, CELLS), np.uint8)
    expected[2:6, 4:] = 1
    np.testing.assert_array_equal(unpack_mask(row["mask"], CELLS), expected)
    assert row["mask"] == bytes([0, 0, 15, 15, 15, 15, 0, 0])


def test_nobody_is_a_view_too() -> None:
    row = encode(make_record())
    assert row["joints"].size == row["areas"].size == 0
    assert unpack_mask(row["mask"], CELLS).sum() == 32


def test_view_0_is_the_letterbox_and_draws_nothing() -> None:
    record = make_record(person((21, 9, 2)))
    rng = view_rng(SEED, 7, 0)
    row = encode_view(record, rng, 0, DATA, NETWORK)
    np.testing.assert_array_equal(row["transform"].reshape(2, 3), letterbox(WIDTH, HEIGHT, INPUT))
    assert rng.random() == view_rng(SEED, 7, 0).random()


def test_a_view_depends_on_seed_image_and_number_alone() -> None:
    record = make_record(person((21, 9, 2)))
    same, again = encode(record, 3), encode(record, 3)
    assert {k: bytes(v) if isinstance(v, np.ndarray) else v for k, v in same.items()} == {
        k: bytes(v) if isinstance(v, np.ndarray) else v for k, v in again.items()
    }
    others = [encode(record, 2), encode(record | {"image_id": 8}, 3)]
    others.append(encode_view(record, view_rng(SEED + 1, 7, 3), 3, DATA, NETWORK))
    assert all((same["transform"] != other["transform"]).any() for other in others)


def test_augmentation_stays_in_its_ranges() -> None:
    data = DataConfig(rotation=20, scale_min=0.8, scale_max=1.25, shift=0.1)
    transforms = np.array([encode(make_record(), v, data)["transform"].reshape(2, 3) for v in range(1, 200)])
    turn, centre = transforms[:, :, :2], transforms @ [(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1]
    angles = np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    scales = 0.5 / np.sqrt(np.linalg.det(turn))
    shifts = (centre - (INPUT - 1) / 2) / INPUT
    for values, low, high in ((angles, -20, 20), (scales, 0.8, 1.25), (shifts, -0.1, 0.1)):
        room = 0.1 * (high - low)  # 199 uniform draws reach within a tenth of both ends
        assert low <= values.min() < low + room
        assert high - room < values.max() <= high


@pytest.mark.parametrize("view", range(6))
def test_labels_stand_where_the_picture_shows_them(view: int) -> None:
    """Two routes: a white dot through the warp and the JPEG, and its centre through the labels."""
    network, joint = NetworkConfig(input_size=128), (100.0, 61.0, 2)
    picture = np.zeros((140, 200, 3), np.uint8)
    picture[55:68, 94:107] = 255
    record = make_record(person(joint)) | {"width": 200, "height": 140}
    row = encode_view(record, view_rng(SEED, 7, view), view, DataConfig(), network, picture)
    shown = decode_picture(row["jpeg"])[..., 0].astype(float)
    shown[shown < 40] = 0  # what the JPEG's compression leaves around the dot
    rows, columns = np.mgrid[:128, :128]
    centre = np.array([(columns * shown).sum(), (rows * shown).sum()]) / shown.sum()
    assert joints_of(row)[0, 0, 2] == 1
    np.testing.assert_allclose(to_pixels(joints_of(row)[0, 0, :2]), centre, atol=0.25)


def test_a_bad_picture_is_bad_data() -> None:
    with pytest.raises(BadPicture, match="truncated"):
        encode(make_record() | {"jpeg": make_record()["jpeg"][:-2]})
