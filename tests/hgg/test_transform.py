"""hgg.transform: numbers worked out by hand, there and back, and pictures against points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgg.transform import (
    apply,
    area_ratio,
    augmented,
    cells_inside,
    into_cells,
    invert,
    letterbox,
    to_cells,
    to_pixels,
    warp,
)

sizes = st.integers(1, 2000)
views = st.fixed_dictionaries(
    {
        "angle": st.floats(-180, 180),
        "scale": st.floats(0.25, 4),
        "shift_x": st.floats(-1, 1),
        "shift_y": st.floats(-1, 1),
    }
)


def test_letterbox_by_hand() -> None:
    # 640 x 480 into 512: zoom 0.8. The edges at -0.5 and 639.5 become -0.5 and 511.5;
    # 480 x 0.8 = 384 rows lie between (512 - 384) / 2 = 64 black ones above and below.
    edges = apply(letterbox(640, 480, 512), np.array([[-0.5, -0.5], [639.5, 479.5]]))
    np.testing.assert_allclose(edges, [[-0.5, 63.5], [511.5, 447.5]], atol=1e-12)
    # An upright picture of half the size is enlarged by 1.6, with black columns left and right.
    edges = apply(letterbox(240, 320, 512), np.array([[-0.5, -0.5], [239.5, 319.5]]))
    np.testing.assert_allclose(edges, [[63.5, -0.5], [447.5, 511.5]], atol=1e-12)


def test_a_picture_of_the_input_size_stays() -> None:
    np.testing.assert_allclose(letterbox(64, 64, 64), [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_rotation_scale_and_shift_by_hand() -> None:
    # A 100 x 100 picture into 100: centre 49.5. A point 20 right of it.
    point = np.array([69.5, 49.5])
    still = {"angle": 0.0, "scale": 1.0, "shift_x": 0.0, "shift_y": 0.0}
    turned = augmented(100, 100, 100, **still | {"angle": 90.0})
    np.testing.assert_allclose(apply(turned, point), [49.5, 69.5])  # clockwise: from right to below
    larger_crop = augmented(100, 100, 100, **still | {"scale": 2.0})
    np.testing.assert_allclose(apply(larger_crop, point), [59.5, 49.5])  # shown half as large
    moved = augmented(100, 100, 100, **still | {"shift_x": 0.2, "shift_y": -0.1})
    np.testing.assert_allclose(apply(moved, point), [89.5, 39.5])
    # AE's shift is a share of the crop, not of the picture: with a crop twice as large still 20 input pixels.
    both = augmented(100, 100, 100, **still | {"scale": 2.0, "shift_x": 0.2})
    np.testing.assert_allclose(apply(both, point), [79.5, 49.5])


@given(width=sizes, height=sizes, view=views)
def test_there_and_back(width: int, height: int, view: dict[str, float]) -> None:
    transform = augmented(width, height, 512, **view)
    points = np.array([[0.0, 0.0], [width - 1, 0.25], [width / 3, height - 1]])
    np.testing.assert_allclose(apply(invert(transform), apply(transform, points)), points, atol=1e-6)
    np.testing.assert_allclose(to_pixels(to_cells(points)), points, atol=1e-9)
    np.testing.assert_allclose(apply(into_cells(transform), points), to_cells(apply(transform, points)))


def test_cells_by_hand() -> None:
    # Cell 0 covers the pixels 0 to 3, whose middle is 1.5; the picture's edge is the map's edge.
    np.testing.assert_allclose(to_cells(np.array([1.5, 5.5, -0.5, 0.0])), [0, 1, -0.5, -0.375])
    np.testing.assert_allclose(to_pixels(np.array([0.0, 31.5])), [1.5, 127.5])


def test_mirroring_pixels_is_mirroring_cells() -> None:
    pixels = np.array([0.0, 3.2, 63.0])
    np.testing.assert_allclose(to_cells(63 - pixels), 15 - to_cells(pixels))


def test_area_by_hand() -> None:
    # 0.8 x 0.8 input pixels per original pixel, 16 input pixels per cell.
    assert area_ratio(letterbox(640, 480, 512)) == pytest.approx(0.04)
    assert area_ratio(augmented(9, 9, 72, angle=33, scale=2, shift_x=0, shift_y=0)) == pytest.approx(1.0)


def test_warp_copies_pixels_under_the_identity() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(warp(picture, letterbox(64, 64, 64), 64), picture)


@pytest.mark.parametrize("input_size", [512, 256, 192, 64])
@pytest.mark.parametrize("angle", [0.0, 25.0])
def test_warp_moves_pictures_as_apply_moves_points(input_size: int, angle: float) -> None:
    picture = np.zeros((427, 640, 3), np.uint8)
    picture[180:221, 300:341] = 255  # centred on 320, 200
    transform = augmented(640, 427, input_size, angle=angle, scale=1.1, shift_x=0.05, shift_y=0)
    shown = warp(picture, transform, input_size)[..., 1].astype(float)
    rows, columns = np.mgrid[:input_size, :input_size]
    centre = [(columns * shown).sum() / shown.sum(), (rows * shown).sum() / shown.sum()]
    np.testing.assert_allclose(centre, apply(transform, np.array([320, 200])), atol=0.12)


def test_warp_is_black_outside_the_picture() -> None:
    shown = warp(np.full((32, 64, 3), 200, np.uint8), letterbox(64, 32, 64), 64)
    assert (shown[:16] == 0).all()
    assert (shown[16:48] == 200).all()
    assert (shown[48:] == 0).all()


def test_warp_averages_where_it_shrinks() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    shown = warp(stripes, letterbox(256, 256, 64), 64)
    assert abs(shown[2:-2, 2:-2].astype(int) - 127).max() <= 1


def test_cells_inside_are_those_that_touch_the_photograph() -> None:
    # 80 x 40 pixels in a square of 64: scale 0.8, the photograph fills input rows 16 to 47, cells 4 to 11.
    inside = cells_inside(80, 40, letterbox(80, 40, 64), 16)
    assert inside.all(axis=1).tolist() == [4 <= row <= 11 for row in range(16)]
    assert inside.any(axis=1).tolist() == inside.all(axis=1).tolist()
    # 80 x 45: rows 14 to 49, so cells 3 and 12 are covered by half.
    inside = cells_inside(80, 45, letterbox(80, 45, 64), 16)
    assert inside.all(axis=1).tolist() == [3 <= row <= 12 for row in range(16)]
