"""How the cost of grouping grows: with the candidates of an image, and with the images of a batch."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.crowds import find, grouping_model, make_crowd
from tests.benchmarks.test_grouping_training import batch_of, training_step
from tests.benchmarks.timing import timed

BY_CANDIDATES = "grouping of one image, candidates to people, HGG"
BY_IMAGES = "grouping in training by images of 60 candidates"
CANDIDATES = (10, 20, 50, 100, 200, 350, 500)
CANDIDATES_A_PERSON = 15
IMAGES = (1, 2, 4, 8, 16, 32)


@pytest.mark.parametrize("number", CANDIDATES)
@torch.no_grad()
def test_candidates(benchmark: BenchmarkFixture, number: int) -> None:
    model = grouping_model()
    candidates, labels = find(make_crowd(number // CANDIDATES_A_PERSON + 2), model, number)
    assert candidates.kind.shape[1] == number
    everyone = torch.ones(1, dtype=torch.bool)
    hierarchy = timed(
        benchmark, BY_CANDIDATES, lambda: model.grouping(candidates, labels, everyone), case=f"{number}"
    )
    assert len(hierarchy.rounds) > 1


@pytest.mark.parametrize("images", IMAGES)
def test_images(benchmark: BenchmarkFixture, images: int) -> None:
    model = grouping_model()
    model.train()
    candidates, labels = batch_of(images, 60, model)
    timed(benchmark, BY_IMAGES, lambda: training_step(model, candidates, labels), case=f"{images}", rounds=10)
