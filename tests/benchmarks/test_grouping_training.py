"""Grouping as training has it: forward and backward, with labels and losses."""

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from hgg.candidates import Candidates, join_candidates
from hgg.losses import verdict_loss
from hgg.model import HGG
from hgg.ohgc import Hierarchy  # where earlier commits have it too, which make bench-compare runs
from tests.benchmarks.crowds import find, grouping_model, make_crowd
from tests.benchmarks.timing import timed

IMAGES, CANDIDATES = 16, 60


def batch_of(images: int, candidates: int, model: HGG) -> tuple[Candidates, Tensor]:
    """So many images of so many candidates each, and whose each candidate is."""
    found = [find(make_crowd(5, seed), model, candidates) for seed in range(images)]
    labels = torch.cat([label_BN for _, label_BN in found])
    joined = join_candidates([part for part, _ in found])
    assert joined.valid.sum() == images * candidates, "too few people for so many candidates"
    return joined, labels


def training_step(model: HGG, candidates: Candidates, labels: Tensor) -> Hierarchy:
    """Zero gradients, all rounds, all verdicts' losses, backward; every image merges by the ground truth."""
    model.zero_grad(set_to_none=True)
    everyone = torch.ones(len(labels), dtype=torch.bool)
    hierarchy = model.grouping(candidates, labels, everyone)
    loss = verdict_loss([each.edges for each in hierarchy.rounds], len(labels))
    loss = loss + verdict_loss([each.macros for each in hierarchy.rounds], len(labels))
    (loss + verdict_loss([hierarchy.final], len(labels))).backward()
    return hierarchy


def test_forward_and_backward(benchmark: BenchmarkFixture) -> None:
    model = grouping_model()
    model.train()
    candidates, labels = batch_of(IMAGES, CANDIDATES, model)
    work = f"grouping in training, forward and backward, {IMAGES} images of {CANDIDATES} candidates"
    hierarchy = timed(benchmark, work, lambda: training_step(model, candidates, labels), target="200")
    assert len(hierarchy.rounds) > 1
