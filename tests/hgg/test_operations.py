"""A training step is the same operations whatever the batch: no loop over images, people, nodes or edges.

How many rounds Algorithm 1 and the matching in it take depends on what is matched. So the batches here hold
the same person many times, and the grouping's weights are 0: then all of them merge alike. All pairs are
taken at once, as a GPU does; a CPU's cache gets them in parts.
"""

from collections import Counter
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hgg import graph
from hgg.config import LossConfig, ModelConfig
from hgg.maps import Maps
from hgg.model import HGG
from hgg.objective import Objective
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets, encode_heatmaps
from tests.cases.host_reads import HostReads

CELLS, VISUAL, STACKS = 96, 4, 2
PLACES = 9  # people fit on a map, in three rows


class _FixedMaps(nn.Module):
    """In the network's place: the target heatmaps, and tags that are all 0."""

    def __init__(self, heatmaps_BJSS: Tensor) -> None:
        super().__init__()
        self.heatmaps = nn.Parameter(heatmaps_BJSS.expand(STACKS, *heatmaps_BJSS.shape).clone())
        self.tags = nn.Parameter(torch.zeros_like(self.heatmaps))
        self.visual = nn.Parameter(torch.zeros(len(heatmaps_BJSS), VISUAL, CELLS, CELLS))

    def forward(self, _images: Tensor) -> Maps:
        return Maps(self.heatmaps, self.tags, self.visual)


def _targets(images: int, people: int) -> Targets:
    """The same person at so many places of every image, no two joints of it near each other."""
    rng = np.random.default_rng(0)
    cells = rng.choice(36, NUM_JOINTS, replace=False)
    person_J2 = np.stack((cells % 6, cells // 6), axis=1) * 4 + 4
    joints = np.ones((people, NUM_JOINTS, 3), np.float32)
    for place in range(people):
        joints[place, :, :2] = person_J2 + 32 * np.array([place % 3, place // 3])
    heatmaps = torch.from_numpy(encode_heatmaps(joints, CELLS, 1.0)).expand(images, -1, -1, -1)
    return Targets(
        heatmaps,
        torch.ones(images, CELLS, CELLS),
        torch.from_numpy(joints).expand(images, -1, -1, -1),
        torch.full((images, people), 500.0),
    )


def _operations(images: int, people: int) -> Counter[str]:
    """Of forward and backward pass of the whole objective, with merges by the ground truth."""
    targets = _targets(images, people)
    network: dict[str, Any] = {"stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": VISUAL}
    model = HGG(ModelConfig.model_validate({"network": network, "grouping": {"hidden": 16}}))
    maps = _FixedMaps(targets.heatmaps)
    model.add_module("network", maps)
    objective = Objective(model, LossConfig(), joint=True)
    for weight in model.grouping.parameters():
        nn.init.zeros_(weight)
    with HostReads().counting() as count, patch.object(graph, "PAIRS_AT_ONCE", graph.PAIRS_ON_GPU):
        terms = objective(torch.zeros(images, 3, 8, 8), targets, teacher_share=1.0)
        terms.total.backward()
    assert terms.edge > 0
    assert maps.tags.grad is not None
    return count.operations


@pytest.fixture(scope="module")
def few() -> Counter[str]:
    """Two images of two people: along a dimension of one, autograd sums where it need not otherwise."""
    return _operations(2, 2)


def test_the_count_sees_all_of_a_step(few: Counter[str]) -> None:
    # Five rounds at least: 17 candidates become one macro-node, at most twice as large in each.
    assert few["scatter_add"] >= 5
    assert few["index_add_"] >= 3  # on the way back through EdgeConv
    assert few.total() > 500


@pytest.mark.parametrize(("images", "people"), [(7, 2), (2, PLACES), (3, 6)])
def test_a_step_is_the_same_operations_whatever_the_batch(
    few: Counter[str], images: int, people: int
) -> None:
    assert _operations(images, people) == few
