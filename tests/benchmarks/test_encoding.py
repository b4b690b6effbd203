"""Targets of one image, and AE's tag losses on them."""

from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from hgg.losses import push_pull_loss
from hgg.targets import encode_heatmaps
from pipeline.data.encode import to_labels
from tests.benchmarks.crowds import CELLS, PEOPLE, SIDE, Crowd, make_crowd
from tests.benchmarks.timing import timed

ENCODE_MS = {5: "0.3", 15: "0.8", 30: "1.5"}
STACKS = 4


def _record(crowd: Crowd) -> dict[str, Any]:
    """As preprocessing has it: keypoints in pixels, one ignored region."""
    from pycocotools import mask as rle

    people = []
    for joints_J3 in crowd.joints:
        pixels = joints_J3.copy()
        pixels[:, :2] = (pixels[:, :2] + 0.5) * SIDE / CELLS - 0.5
        people.append({"keypoints": (pixels * (joints_J3[:, 2:] > 0)).ravel(), "area": 9000.0})
    region = np.zeros((SIDE, SIDE), np.uint8, order="F")
    region[:100, :150] = 1
    return {"people": people, "ignore": rle.encode(region)}


@pytest.mark.parametrize("people", PEOPLE)
def test_heatmaps_mask_and_joints(benchmark: BenchmarkFixture, people: int) -> None:
    record = _record(make_crowd(people))
    transform = np.eye(2, 3)

    def encode() -> np.ndarray:
        labels = to_labels(record, transform, CELLS)
        return encode_heatmaps(labels.joints, CELLS, 2.0)

    work = "encode heatmaps, mask and joints of one image at 128 x 128"
    heatmaps = timed(benchmark, work, encode, case=f"{people} people", target=ENCODE_MS[people])
    assert heatmaps.max() > 0.5


@pytest.mark.parametrize("people", PEOPLE)
def test_push_and_pull(benchmark: BenchmarkFixture, people: int) -> None:
    crowd = make_crowd(people)
    tags = torch.randn(STACKS, 1, 17, CELLS, CELLS, requires_grad=True)

    def step() -> None:
        tags.grad = None
        push, pull = push_pull_loss(tags, crowd.targets.joints)
        (push + pull).backward()

    work = f"push and pull of one image, {STACKS} stacks, forward and backward"
    timed(benchmark, work, step, case=f"{people} people", target="1")
    assert tags.grad is not None
