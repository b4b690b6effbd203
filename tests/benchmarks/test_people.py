"""Maps of one image to its people, missing joints filled, by both groupings."""

from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from hgg.associative import group_associative
from hgg.candidates import find_candidates
from hgg.poses import to_poses
from hgg.skeleton import COCO
from tests.benchmarks.crowds import PEOPLE, find, grouping_model, make_crowd
from tests.benchmarks.timing import timed

AE_MS = {5: "5", 15: "10", 30: "20"}
HGG_MS = {5: "8", 15: "30", 30: "90"}


@pytest.mark.parametrize("people", PEOPLE)
@torch.no_grad()
def test_by_associative_embedding(benchmark: BenchmarkFixture, people: int) -> None:
    crowd, model = make_crowd(people), grouping_model()

    def group() -> Any:
        candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
        clusters = group_associative(candidates, 1.0, COCO)
        return to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)

    (poses,) = timed(benchmark, "maps to people, AE", group, case=f"{people} people", target=AE_MS[people])
    assert len(poses.score) >= people


@pytest.mark.parametrize("people", PEOPLE)
@torch.no_grad()
def test_by_hgg(benchmark: BenchmarkFixture, people: int) -> None:
    """Merges by the ground truth, as a trained model would: an untrained one merges nothing, or at random."""
    crowd, model = make_crowd(people), grouping_model()
    _, label_BN = find(crowd, model)
    everyone = torch.ones(1, dtype=torch.bool)

    def group() -> Any:
        candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
        hierarchy = model.grouping(candidates, label_BN, everyone)
        clusters = model.people(hierarchy, candidates)
        return to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)

    (poses,) = timed(benchmark, "maps to people, HGG", group, case=f"{people} people", target=HGG_MS[people])
    assert len(poses.score) >= people
