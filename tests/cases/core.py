"""A tiny HGG and batches of made-up people, for the tests of the whole objective.

Letters: B images, J joint types, S side of the output maps, P people.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgg.config import GroupingConfig, LossConfig, ModelConfig
from hgg.discriminators import EdgeDiscriminator, MacroDiscriminator
from hgg.model import HGG, Grouping
from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets, encode_heatmaps

INPUT, CELLS = 64, 16
EQUAL = LossConfig(push=1.0, pull=1.0, edge=1.0, macro=1.0)


def tiny_model(seed: int = 0, **settings: dict[str, Any]) -> HGG:
    """A model of some 20,000 parameters that finds candidates before it is trained.

    Args:
        seed: of its weights.
        settings: of `network`, `candidates` and `grouping`, where they differ.
    """
    config = ModelConfig.model_validate(
        {
            "network": {
                "input_size": INPUT,
                "stacks": 2,
                "channels": 8,
                "increase": 4,
                "depth": 2,
                "norm": "none",
                "visual_dim": 6,
                **settings.get("network", {}),
            },
            "candidates": {
                "threshold": 0.2,
                "per_type": 3,
                "max_total": 40,
                **settings.get("candidates", {}),
            },
            "grouping": {"hidden": 16, **settings.get("grouping", {})},
        }
    )
    torch.manual_seed(seed)
    model = HGG(config)
    with torch.no_grad():
        for weight in model.network.parameters():
            if weight.dim() > 1:
                weight *= 2  # as drawn, maps are nearly flat
    return model


def spread_grouping(seed: int, **config: Any) -> Grouping:
    """Random weights, with logits spread widely enough that any cut leaves some edges and takes others."""
    torch.manual_seed(seed)
    grouping = Grouping(GroupingConfig.model_validate({"hidden": 16, **config}), visual_dim=0).double().eval()
    with torch.no_grad():
        for discriminator in (grouping.edge, grouping.macro):
            assert isinstance(discriminator, EdgeDiscriminator | MacroDiscriminator)
            discriminator.perceptron[-1].get_parameter("weight").mul_(20)
    return grouping


def make_images(batch: int, seed: int = 0) -> Tensor:
    """(B, 3, H, W) noise in [0, 1]."""
    return torch.rand(batch, 3, INPUT, INPUT, generator=torch.Generator().manual_seed(seed))


def make_targets(people: list[int], seed: int = 0, ignored_rows: int = 2) -> Targets:
    """So many people an image, two thirds of their joints labelled, large enough to match any candidate near.

    The lowest rows of every map are an ignore region.
    """
    rng = np.random.default_rng(seed)
    batch, most = len(people), max(people, default=0)
    joints = np.zeros((batch, most, NUM_JOINTS, 3), np.float32)
    areas = np.zeros((batch, most), np.float32)
    for image, count in enumerate(people):
        joints[image, :count, :, :2] = rng.uniform(0, CELLS - 1, (count, NUM_JOINTS, 2))
        joints[image, :count, :, 2] = rng.random((count, NUM_JOINTS)) < 2 / 3
        areas[image, :count] = 2_000.0
    heatmaps = np.stack([encode_heatmaps(image, CELLS, 1.0) for image in joints])
    mask = np.ones((batch, CELLS, CELLS), np.float32)
    mask[:, CELLS - ignored_rows :] = 0
    return Targets(*(torch.from_numpy(part) for part in (heatmaps, mask, joints, areas)))
