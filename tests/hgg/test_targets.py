"""hgg.targets: the values of a few cells, worked out by hand."""

import numpy as np
import pytest

from hgg.targets import encode_heatmaps


def test_a_peak_stands_between_the_cells() -> None:
    joints = np.array([[[2.25, 1.0, 1.0]]])
    heatmaps = encode_heatmaps(joints, 6, sigma=1.0)
    assert heatmaps.shape == (1, 6, 6)
    assert heatmaps.dtype == np.float32
    assert heatmaps[0, 1, 2] == pytest.approx(0.969233)  # exp(-0.25^2 / 2)
    assert heatmaps[0, 1, 3] == pytest.approx(0.754840)  # exp(-0.75^2 / 2)
    assert heatmaps[0, 2, 2] == pytest.approx(0.587870)  # exp(-(0.25^2 + 1) / 2)


def test_sigma_is_in_cells() -> None:
    heatmaps = encode_heatmaps(np.array([[[4.0, 4.0, 1.0]]]), 9, sigma=2.0)
    assert heatmaps[0, 4, 4] == 1.0
    assert heatmaps[0, 4, 6] == pytest.approx(np.exp(-0.5))


def test_people_overlap_by_their_maximum() -> None:
    both = np.array([[[1.0, 2.0, 1.0]], [[3.0, 2.0, 1.0]]])
    one, other = encode_heatmaps(both[:1], 5, 1.0), encode_heatmaps(both[1:], 5, 1.0)
    np.testing.assert_array_equal(encode_heatmaps(both, 5, 1.0), np.maximum(one, other))
    assert encode_heatmaps(both, 5, 1.0)[0, 2, 2] == pytest.approx(0.606531)  # not twice as much


def test_joint_types_have_maps_of_their_own_and_unlabelled_joints_draw_nothing() -> None:
    joints = np.array([[[1.0, 1.0, 0.0], [2.0, 3.0, 1.0], [0.0, 0.0, 0.0]]])
    heatmaps = encode_heatmaps(joints, 4, 1.0)
    assert heatmaps.any(axis=(1, 2)).tolist() == [False, True, False]
    assert np.unravel_index(heatmaps[1].argmax(), (4, 4)) == (3, 2)  # row y, column x


@pytest.mark.parametrize("sigma", [0.7, 1.5, 2.0, 5.0])
def test_windows_leave_out_nothing_that_a_byte_can_hold(sigma: float) -> None:
    rng = np.random.default_rng(0)
    joints = rng.uniform(-3, 40, (12, 17, 3)).astype(np.float32)
    joints[..., 2] = rng.random((12, 17)) < 0.7
    cells = np.arange(37, dtype=np.float32)
    offsets = cells - joints[..., :2, None]
    bells = np.exp(offsets**2 / np.float32(-2 * sigma**2)) * (joints[..., 2] > 0)[..., None, None]
    whole = (bells[:, :, 1, :, None] * bells[:, :, 0, None, :]).max(axis=0)
    found = encode_heatmaps(joints, 37, sigma)
    assert np.abs(found - whole).max() < 0.5 / 255
    np.testing.assert_array_equal(np.rint(found * 255), np.rint(whole * 255))
    assert (found[whole > 0.5 / 255] == whole[whole > 0.5 / 255]).all()


def test_nobody_gives_empty_maps() -> None:
    heatmaps = encode_heatmaps(np.zeros((0, 17, 3)), 8, 2.0)
    assert heatmaps.shape == (17, 8, 8)
    assert not heatmaps.any()
