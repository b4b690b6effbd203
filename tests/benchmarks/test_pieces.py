"""Time of each piece of work at 512 x 512 with 5, 15 and 30 people, one thread: `make bench`.

Grouping merges by the ground truth, as a trained model would: an untrained one would merge nothing, or all at
random, and its rounds would say nothing.
"""

from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from hgg.associative import group_associative
from hgg.candidates import Candidates, find_candidates, join_candidates
from hgg.losses import push_pull_loss, verdict_loss
from hgg.poses import to_poses
from hgg.skeleton import COCO
from hgg.targets import encode_heatmaps
from pipeline.encode import to_labels
from tests.benchmarks.crowds import CELLS, PEOPLE, SIDE, Crowd, find, grouping_model, make_crowd

ROUNDS = 20
IMAGES, CANDIDATES = 16, 60

each_crowd = pytest.mark.parametrize("people", PEOPLE)


def _timed(benchmark: BenchmarkFixture, group: str, function: Any, rounds: int = ROUNDS) -> Any:
    benchmark.group = group
    return benchmark.pedantic(function, warmup_rounds=2, rounds=rounds)


def _record(crowd: Crowd) -> dict[str, Any]:
    """As preprocessing has it: keypoints in pixels, one ignored region."""
    people = []
    for joints_J3 in crowd.joints:
        pixels = joints_J3.copy()
        pixels[:, :2] = (pixels[:, :2] + 0.5) * SIDE / CELLS - 0.5
        people.append({"keypoints": (pixels * (joints_J3[:, 2:] > 0)).ravel(), "area": 9000.0})
    from pycocotools import mask as rle

    region = np.zeros((SIDE, SIDE), np.uint8, order="F")
    region[:100, :150] = 1
    return {"people": people, "ignore": rle.encode(region)}


@each_crowd
def test_encode_heatmaps_mask_and_joints(benchmark: BenchmarkFixture, people: int) -> None:
    record = _record(make_crowd(people))
    transform = np.eye(2, 3)

    def encode() -> np.ndarray:
        labels = to_labels(record, transform, CELLS)
        return encode_heatmaps(labels.joints, CELLS, 2.0)

    assert _timed(benchmark, "encode heatmaps, mask and joints", encode).max() > 0.5


@each_crowd
def test_push_and_pull_forward_and_backward(benchmark: BenchmarkFixture, people: int) -> None:
    crowd = make_crowd(people)
    tags = torch.randn(4, 1, 17, CELLS, CELLS, requires_grad=True)

    def step() -> None:
        tags.grad = None
        push, pull = push_pull_loss(tags, crowd.targets.joints)
        (push + pull).backward()

    _timed(benchmark, "push and pull, forward and backward, 4 stacks", step)


@each_crowd
@torch.no_grad()
def test_maps_to_people_by_associative_embedding(benchmark: BenchmarkFixture, people: int) -> None:
    crowd, model = make_crowd(people), grouping_model()

    def group() -> Any:
        candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
        clusters = group_associative(candidates, 1.0, COCO)
        return to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)

    (poses,) = _timed(benchmark, "maps to people, AE", group)
    assert len(poses.score) >= people


@each_crowd
@torch.no_grad()
def test_maps_to_people_by_hgg(benchmark: BenchmarkFixture, people: int) -> None:
    crowd, model = make_crowd(people), grouping_model()
    _, label_BN = find(crowd, model)
    everyone = torch.ones(1, dtype=torch.bool)

    def group() -> Any:
        candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
        hierarchy = model.grouping(candidates, label_BN, everyone)
        clusters = model.people(hierarchy, candidates)
        return to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)

    (poses,) = _timed(benchmark, "maps to people, HGG", group)
    assert len(poses.score) >= people


def _batch(model: Any) -> tuple[Candidates, torch.Tensor]:
    """Images of 60 candidates each, of five people."""
    found = [find(make_crowd(5, seed), model, CANDIDATES) for seed in range(IMAGES)]
    labels = torch.cat([label_BN[:, :CANDIDATES] for _, label_BN in found])
    return join_candidates([candidates for candidates, _ in found]), labels


def test_grouping_in_training(benchmark: BenchmarkFixture) -> None:
    model = grouping_model()
    model.train()
    candidates, labels = _batch(model)
    everyone = torch.ones(IMAGES, dtype=torch.bool)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        hierarchy = model.grouping(candidates, labels, everyone)
        loss = verdict_loss([each.edges for each in hierarchy.rounds], IMAGES)
        loss = loss + verdict_loss([each.macros for each in hierarchy.rounds], IMAGES)
        (loss + verdict_loss([hierarchy.final], IMAGES)).backward()

    assert candidates.valid.sum() == IMAGES * CANDIDATES
    _timed(benchmark, f"grouping in training, {IMAGES} images of {CANDIDATES} candidates", step)


@each_crowd
def test_coco_s_evaluation(benchmark: BenchmarkFixture, people: int) -> None:
    """AP of 100 images, from detections in memory."""
    from pipeline.metrics import coco_metrics
    from tests.benchmarks.scored import scored_crowds

    truth, detections = scored_crowds(100, people)
    figures = _timed(benchmark, "COCO's AP, 100 images", lambda: coco_metrics(truth, detections), rounds=3)
    assert figures["AP"] > 0.5
