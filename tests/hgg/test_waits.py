"""How often grouping waits for its device, and how many operations it takes: counted here, paid for on a GPU.

Before its graphs were matrices, the forward pass of a batch in training waited 95 times in four rounds, and
took 1,181 operations; assigning candidates waited 9 times.
"""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from hgg import graph
from hgg.hierarchy import Hierarchy
from hgg.labels import assign
from hgg.poses import to_poses
from hgg.targets import Targets
from tests.benchmarks.crowds import find_candidates, grouping_model, make_crowd
from tests.cases.host_reads import HostReads

IMAGES, CANDIDATES = 16, 60
LOOKS_AT_A_MATCHING = 2  # more than one where it takes more passes than are made between two looks


def _total(counts: HostReads) -> int:
    return counts.found.total()


def test_the_counter_sees_what_a_gpu_is_waited_for() -> None:
    values = torch.tensor([3, 0, 1])
    with HostReads().counting() as counts:
        values.sum().item()
        values.nonzero()
        values[values > 0]
        values.unique()
        values.tolist()
        values.numpy()
        values[torch.tensor([0, 1])].clamp(min=1)
        torch.zeros(3).index_put_((values > 0,), torch.tensor(1.0))
        values.nonzero_static(size=2)
    assert _total(counts) == 7


def _batch() -> tuple[Targets, tuple[Tensor, Tensor, Tensor]]:
    crowds = [make_crowd(5, seed) for seed in range(IMAGES)]
    targets = Targets(*(torch.cat(part) for part in zip(*(crowd.targets for crowd in crowds), strict=True)))
    heatmaps, tags = (
        torch.cat([crowd.heatmaps for crowd in crowds]),
        torch.cat([crowd.tags for crowd in crowds]),
    )
    return targets, (heatmaps, tags, torch.cat([crowd.visual for crowd in crowds]))


def test_a_training_step_waits_twelve_times_at_most_and_twice_a_round() -> None:
    model = grouping_model().train()
    targets, maps = _batch()
    with HostReads().counting() as counts:
        candidates = find_candidates(*maps, model.config.candidates, limit=CANDIDATES)
        found = _total(counts)
        labels = assign(candidates, targets)
        assigned = _total(counts)
        hierarchy = model.grouping(candidates, labels, torch.ones(IMAGES, dtype=torch.bool))
    assert isinstance(hierarchy, Hierarchy)
    assert len(hierarchy.rounds) >= 4
    assert found == 1
    assert assigned - found <= 2
    grouped = _total(counts) - assigned
    assert grouped <= 1 + LOOKS_AT_A_MATCHING * len(hierarchy.rounds)
    assert _total(counts) <= 12
    logits = [verdicts.logit for each in hierarchy.rounds for verdicts in (each.edges, each.macros)]
    with HostReads().counting() as backward:
        torch.cat(logits).sum().backward()
    assert _total(backward) == 0


@pytest.mark.parametrize("people", [5, 15, 30])
def test_inference_waits_twelve_times_at_most_and_copies_once(people: int) -> None:
    crowd, model = make_crowd(people), grouping_model()
    everyone = torch.ones(1, dtype=torch.bool)
    with torch.no_grad(), HostReads().counting() as counts:
        candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
        labels = assign(candidates, crowd.targets)
        before = _total(counts)
        hierarchy = model.grouping(candidates, labels, everyone)
        clusters = model.people(hierarchy, candidates)
        assert _total(counts) - before <= 11  # and one for the number of candidates
        before = _total(counts)
        to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)
    assert counts.found["cpu"] == 1
    assert _total(counts) - before == 3  # the sizes, and the copy's two steps


def test_operations_of_the_forward_pass_are_fewer() -> None:
    model = grouping_model().train()
    targets, maps = _batch()
    candidates = find_candidates(*maps, model.config.candidates, limit=CANDIDATES)
    labels = assign(candidates, targets)
    at_once = patch.object(graph, "PAIRS_AT_ONCE", graph.PAIRS_ON_GPU)
    with at_once, HostReads().counting() as counts:
        hierarchy = model.grouping(candidates, labels, torch.ones(IMAGES, dtype=torch.bool))
    assert counts.operations.total() <= 165 * len(hierarchy.rounds) + 260
