"""Maps of one image to its people, missing joints filled, by both groupings."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.crowds import PEOPLE, find, grouping_model, make_crowd, people_by_hgg, people_by_tags
from tests.benchmarks.timing import timed

AE_MS = {5: "5", 15: "10", 30: "20"}
HGG_MS = {5: "8", 15: "30", 30: "90"}


@pytest.mark.parametrize("people", PEOPLE)
@torch.no_grad()
def test_by_associative_embedding(benchmark: BenchmarkFixture, people: int) -> None:
    crowd, model = make_crowd(people), grouping_model()
    (poses,) = timed(
        benchmark, "maps to people, AE", lambda: people_by_tags(crowd, model),
        case=f"{people} people", target=AE_MS[people],
    )  # fmt: skip
    assert len(poses.score) >= people


@pytest.mark.parametrize("people", PEOPLE)
@torch.no_grad()
def test_by_hgg(benchmark: BenchmarkFixture, people: int) -> None:
    crowd, model = make_crowd(people), grouping_model()
    _, label_BN = find(crowd, model)
    (poses,), _ = timed(
        benchmark, "maps to people, HGG", lambda: people_by_hgg(crowd, model, label_BN),
        case=f"{people} people", target=HGG_MS[people],
    )  # fmt: skip
    assert len(poses.score) >= people
