"""What was made fast, beside the plain way to the same result.

Letters: B images, J joint types, S side of the maps, N candidates, P people, E edges, H hidden features,
T views, X rows.
"""

from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgg import graph
from hgg.associative import _match, group_associative
from hgg.candidates import _is_peak
from hgg.clusters import LEFT_OUT
from hgg.config import GroupingConfig
from hgg.discriminators import EdgeDiscriminator
from hgg.ohgc import _proximity
from hgg.poses import _highest_cell, _tag_distance
from hgg.skeleton import COCO
from tests.cases.candidates import Row, make_candidates, random_rows
from tests.cases.edgeconv_forms import random_neighbours, to_edges


def _plain_peaks(heatmaps_BJSS: Tensor, window: int) -> Tensor:
    """Cells that max-pooling, which names the first of equal ones, names for their own window."""
    _, best = F.max_pool2d(heatmaps_BJSS, window, stride=1, padding=window // 2, return_indices=True)
    height, width = heatmaps_BJSS.shape[-2:]
    return best == torch.arange(height * width).view(height, width)


@pytest.mark.parametrize("window", [1, 3, 5, 7])
@pytest.mark.parametrize("levels", [3, 1000], ids=["plateaus", "hardly any"])
def test_peaks_are_those_of_max_pooling(window: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(window)
    heatmaps = torch.randint(levels, (2, 3, 40, 23), generator=generator).float() / levels
    expected = _plain_peaks(heatmaps, window)
    assert expected.sum() > 20
    assert _is_peak(heatmaps, window).equal(expected)


def test_the_highest_cell_is_that_of_argmax() -> None:
    maps_MSS = torch.randint(30, (50, 7, 9), generator=torch.Generator().manual_seed(0)).float()
    place_M2, value_M = _highest_cell(maps_MSS)
    best_M = maps_MSS.flatten(1).argmax(dim=1)
    assert place_M2.equal(torch.stack((best_M % 9, best_M // 9), dim=1))
    assert value_M.equal(maps_MSS.flatten(1).amax(dim=1))
    ties = (maps_MSS == value_M[:, None, None]).sum(dim=(1, 2))
    assert (ties > 1).sum() > 10


@pytest.mark.parametrize("views", [1, 2])
def test_the_tag_distance_is_the_root_mean_square_over_the_views(views: int) -> None:
    tag_MTSS, mean_MT = torch.randn(4, views, 6, 5), torch.randn(4, views)
    plain_MSS = (tag_MTSS - mean_MT[..., None, None]).square().mean(dim=1).sqrt()
    torch.testing.assert_close(_tag_distance(tag_MTSS, mean_MT), plain_MSS)


def _plain_associative(rows: list[Row], threshold: float) -> list[int]:
    """Lists of people's members, whose tags are averaged anew for every joint type."""
    people: list[list[int]] = []
    order = sorted(range(len(rows)), key=lambda n: (-np.float32(rows[n][1]), rows[n][4], rows[n][3]))
    score_N, tag_N1 = (np.array([row[k] for row in rows], np.float32).astype(float) for k in (1, 2))
    tag_N1 = tag_N1[:, None]
    for kind in COCO.order:
        arrivals = np.array([n for n in order if rows[n][0] == kind], int)
        means = np.array([tag_N1[members].mean(axis=0) for members in people]).reshape(-1, 1)
        for arrival, person in zip(
            arrivals, _match(score_N[arrivals], tag_N1[arrivals], means, threshold), strict=True
        ):
            if person < 0:
                people.append([arrival])
            else:
                people[person].append(arrival)
    member_N = [LEFT_OUT] * len(rows)
    for members in people:
        for candidate in members:
            member_N[candidate] = min(members)
    return member_N


@given(random_rows(most=60))
def test_greedy_grouping_is_that_of_lists(rows: list[Row]) -> None:
    found = group_associative(make_candidates(rows), 1.0).member[0, : len(rows)].tolist()
    assert found == _plain_associative(rows, 1.0)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 70))
def test_edges_in_parts_give_what_they_give_at_once(seed: int, at_once: int) -> None:
    torch.manual_seed(seed)
    discriminator = EdgeDiscriminator(GroupingConfig(hidden=8)).eval()
    rows_E = list(to_edges(random_neighbours([9, 4], types=4, seed=seed)))
    mean_XTH = torch.randn(18, 2, 8)
    whole = _proximity(mean_XTH, rows_E, discriminator)  # with gradients: all at once
    with torch.no_grad(), patch.object(graph, "PAIRS_AT_ONCE", at_once):
        torch.testing.assert_close(_proximity(mean_XTH, rows_E, discriminator), whole)


def test_the_edge_discriminator_is_its_perceptron_on_sum_and_difference() -> None:
    torch.manual_seed(0)
    edge = EdgeDiscriminator(GroupingConfig()).eval()
    feature_XH, (first_E, second_E) = torch.randn(9, 64), torch.randint(9, (2, 50))
    first_EH, second_EH = feature_XH[first_E], feature_XH[second_E]
    pair = torch.cat((first_EH + second_EH, (first_EH - second_EH).abs()), dim=-1)
    torch.testing.assert_close(edge(feature_XH, first_E, second_E), edge.perceptron(pair).squeeze(-1))
