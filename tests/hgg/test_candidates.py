"""Candidates: peaks, their order and number, and where inside a cell they lie; all on maps made by hand.

Letters: B images, J joint types, S side, V visual channels, N candidates.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgg.candidates import Candidates, find_candidates, join_candidates, with_view
from hgg.config import CandidateConfig
from hgg.skeleton import NUM_JOINTS
from hgg.targets import encode_heatmaps

SIDE = 16
NOSE, WRIST = 0, 9


def _maps(*cells: tuple[int, int, int, float], images: int = 1) -> Tensor:
    """Heatmaps that are 0 but at (type, x, y) of the first image."""
    heatmaps = torch.zeros(images, NUM_JOINTS, SIDE, SIDE)
    for kind, x, y, value in cells:
        heatmaps[0, kind, y, x] = value
    return heatmaps


def _find(heatmaps: Tensor, limit: int | None = None, **config: Any) -> Candidates:
    batch, _, side, _ = heatmaps.shape
    tags = torch.arange(heatmaps.numel(), dtype=torch.float32).view_as(heatmaps)
    visual = torch.arange(batch * 2 * side * side, dtype=torch.float32).view(batch, 2, side, side)
    return find_candidates(heatmaps, tags, visual, CandidateConfig(**config), limit)


def _rows(candidates: Candidates, image: int = 0) -> list[tuple[int, int, int]]:
    """Type, x and y of the valid candidates."""
    valid = candidates.valid[image]
    parts = (candidates.kind[image, valid, None], candidates.cell[image, valid])
    return [tuple(row) for row in torch.cat(parts, 1).tolist()]


def test_peaks_of_all_types_the_highest_first_with_what_stands_at_their_cells() -> None:
    found = _find(_maps((WRIST, 3, 4, 0.5), (NOSE, 10, 4, 0.75), (NOSE, 2, 15, 0.25)))
    assert _rows(found) == [(NOSE, 10, 4), (WRIST, 3, 4), (NOSE, 2, 15)]
    assert found.score.tolist() == [[0.75, 0.5, 0.25]]
    assert found.tag.tolist() == [[[4 * 16 + 10], [WRIST * 256 + 4 * 16 + 3], [15 * 16 + 2]]]
    assert found.visual.tolist() == [[[[74.0, 256 + 74.0]], [[67.0, 256 + 67.0]], [[242.0, 256 + 242.0]]]]


def test_a_lower_cell_inside_the_window_of_a_higher_is_no_peak() -> None:
    two_apart = _maps((NOSE, 5, 5, 0.9), (NOSE, 7, 7, 0.8))
    three_apart = _maps((NOSE, 5, 5, 0.9), (NOSE, 8, 5, 0.8))
    assert _rows(_find(two_apart)) == [(NOSE, 5, 5)]
    assert _rows(_find(two_apart, window=3)) == [(NOSE, 5, 5), (NOSE, 7, 7)]
    assert _rows(_find(three_apart)) == [(NOSE, 5, 5), (NOSE, 8, 5)]


def test_types_do_not_suppress_each_other() -> None:
    assert len(_rows(_find(_maps((NOSE, 5, 5, 0.9), (WRIST, 5, 5, 0.8))))) == 2


def test_a_plateau_is_one_candidate() -> None:
    heatmaps = _maps()
    heatmaps[0, NOSE, 4:6, 7:9] = 0.5
    heatmaps[0, WRIST] = 0.5  # the whole map
    assert _rows(_find(heatmaps)) == [(NOSE, 7, 4), (WRIST, 0, 0)]
    assert _find(heatmaps).xy.tolist() == [[[7.5, 4.5], [0.0, 0.0]]]  # the middle of the four cells


def test_the_threshold_itself_is_not_enough() -> None:
    heatmaps = _maps((NOSE, 5, 5, 0.25), (NOSE, 10, 5, 0.2500001))
    assert _rows(_find(heatmaps, threshold=0.25)) == [(NOSE, 10, 5)]
    assert _rows(_find(-heatmaps, threshold=0.0)) == []


def test_numbers_per_type_and_in_all() -> None:
    cells = [(kind, 3 * k, 3 * kind, 0.9 - 0.1 * k - 0.01 * kind) for kind in range(3) for k in range(4)]
    heatmaps = _maps(*cells)
    assert _rows(_find(heatmaps, per_type=2)) == [
        (0, 0, 0),
        (1, 0, 3),
        (2, 0, 6),
        (0, 3, 0),
        (1, 3, 3),
        (2, 3, 6),
    ]
    assert _rows(_find(heatmaps, limit=4)) == [(0, 0, 0), (1, 0, 3), (2, 0, 6), (0, 3, 0)]
    assert _find(heatmaps, limit=500).valid.sum() == 12


def test_a_batch_is_padded_to_its_largest_image() -> None:
    heatmaps = _maps((NOSE, 5, 5, 0.9), (WRIST, 5, 5, 0.8), images=3)
    heatmaps[2, WRIST, 1, 2] = 0.3
    found = _find(heatmaps)
    assert found.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert _rows(found, 2) == [(WRIST, 2, 1)]
    assert (found.score[~found.valid] == 0).all()


def test_an_empty_map_gives_one_row_of_padding() -> None:
    found = _find(_maps(images=2))
    assert found.kind.shape == (2, 1)
    assert not found.valid.any()
    assert found.visual.shape == (2, 1, 1, 2)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_gaussian_mode_is_exact_on_a_gaussian(sigma: float) -> None:
    rng = np.random.default_rng(0)
    side, count = 32, 40
    joints = np.ones((count, NUM_JOINTS, 3), np.float32)
    joints[..., :2] = rng.uniform(1.0, side - 2.0, (count, NUM_JOINTS, 2))
    heatmaps = np.stack([encode_heatmaps(person[None], side, sigma) for person in joints])
    found = _find(torch.from_numpy(heatmaps), per_type=1)
    assert found.valid.all()
    true_BN2 = torch.from_numpy(joints[..., :2]).gather(1, found.kind[..., None].expand(-1, -1, 2))
    torch.testing.assert_close(found.xy, true_BN2, atol=1e-3, rtol=0)


def test_quarter_mode_moves_a_quarter_toward_the_higher_neighbour() -> None:
    heatmaps = _maps((NOSE, 5, 5, 0.9), (NOSE, 6, 5, 0.3), (NOSE, 4, 5, 0.2), (NOSE, 5, 4, 0.1))
    found = _find(heatmaps, subcell="quarter")
    assert found.xy.tolist() == [[[5.25, 4.75]]]
    level = _find(_maps((NOSE, 5, 5, 0.9), (NOSE, 6, 5, 0.3), (NOSE, 4, 5, 0.3)), subcell="quarter")
    assert level.xy.tolist() == [[[5.0, 5.0]]]


def test_gaussian_mode_by_hand() -> None:
    # Logarithms in units of log 2 to the left, here and to the right: -3, -1, -2. The vertex of the
    # parabola through them is at 0.5 * (-2 + 3) / (2 * -1 + 3 + 2) = 1/6.
    found = _find(_maps((NOSE, 4, 5, 0.125), (NOSE, 5, 5, 0.5), (NOSE, 6, 5, 0.25)))
    torch.testing.assert_close(found.xy, torch.tensor([[[5 + 1 / 6, 5.0]]]))


@pytest.mark.parametrize("mode", ["gaussian", "quarter"])
def test_at_the_border_the_offset_across_it_is_zero(mode: str) -> None:
    heatmaps = _maps(
        (NOSE, 0, 5, 0.9), (NOSE, 1, 5, 0.8), (NOSE, 0, 6, 0.5), (NOSE, 15, 15, 0.7), (NOSE, 14, 15, 0.6)
    )
    found = _find(heatmaps, subcell=mode)
    assert found.xy[0, 0, 0] == 0.0
    assert found.xy[0, 0, 1] > 5.0
    assert found.xy[0, 1].tolist() == [15.0, 15.0]


def test_gradients_reach_tags_and_relational_features_and_not_heatmaps() -> None:
    heatmaps = _maps((NOSE, 5, 5, 0.9), (WRIST, 5, 5, 0.8), images=2).requires_grad_()
    tags = torch.zeros_like(heatmaps, requires_grad=True)
    visual = torch.zeros(2, 3, SIDE, SIDE, requires_grad=True)
    found = find_candidates(heatmaps, tags, visual, CandidateConfig())
    assert not found.score.requires_grad
    assert not found.xy.requires_grad
    ((found.tag[..., 0] + found.visual.sum((2, 3))) * found.valid).sum().backward()
    assert tags.grad is not None
    assert tags.grad.nonzero().tolist() == [[0, NOSE, 5, 5], [0, WRIST, 5, 5]]
    assert visual.grad is not None
    assert visual.grad.nonzero().tolist() == [[0, channel, 5, 5] for channel in range(3)]
    assert visual.grad[0, :, 5, 5].tolist() == [2.0] * 3  # two types share the cell


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8)])
def test_maps_need_not_be_square(height: int, width: int) -> None:
    """Found in the corner of a larger square map, where all else is 0, they are the same."""
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.zeros(2, NUM_JOINTS, 20, 20)
    heatmaps[..., 2 : height - 2, 2 : width - 2] = torch.rand(
        2, NUM_JOINTS, height - 4, width - 4, generator=generator
    )
    tags = torch.rand(2, NUM_JOINTS, 20, 20, generator=generator)
    visual = torch.rand(2, 3, 20, 20, generator=generator)
    square = find_candidates(heatmaps, tags, visual, CandidateConfig())
    part = (..., slice(0, height), slice(0, width))
    found = find_candidates(heatmaps[part], tags[part], visual[part], CandidateConfig())
    assert found.size.tolist() == [[width, height]] * 2
    assert found.valid.equal(square.valid)
    for name, value in found._asdict().items():
        if name != "size":
            assert value[found.valid].equal(getattr(square, name)[found.valid]), name


def test_a_second_view_adds_what_stands_at_the_same_cells() -> None:
    found = _find(_maps((WRIST, 3, 4, 0.5), (NOSE, 10, 4, 0.75)))
    tags, visual = torch.zeros(1, NUM_JOINTS, SIDE, SIDE), torch.zeros(1, 2, SIDE, SIDE)
    tags[0, WRIST, 4, 3], visual[0, 1, 4, 10] = 7.0, 5.0
    both = with_view(found, tags, visual)
    assert both.tag.tolist() == [[[74.0, 0.0], [WRIST * 256 + 67.0, 7.0]]]
    assert both.visual.tolist() == [[[[74.0, 330.0], [0.0, 5.0]], [[67.0, 323.0], [0.0, 0.0]]]]
    assert both._replace(tag=found.tag, visual=found.visual) == found


def test_batches_are_joined_with_padding() -> None:
    first = _find(_maps((WRIST, 3, 4, 0.5), (NOSE, 10, 4, 0.75)))
    second = _find(_maps((WRIST, 1, 2, 0.25), images=2))._replace(size=torch.tensor([[9, 7]] * 2))
    joined = join_candidates([second, first])
    assert joined.valid.tolist() == [[True, False], [False, False], [True, True]]
    assert [_rows(joined, image) for image in range(3)] == [[(WRIST, 1, 2)], [], _rows(first)]
    assert joined.size.tolist() == [[9, 7], [9, 7], [SIDE, SIDE]]
    assert joined.visual[2].equal(first.visual[0])
    assert (joined.score[~joined.valid] == 0).all()
