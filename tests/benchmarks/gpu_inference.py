"""Inference on a GPU, stage by stage: the network, candidates, their graph and clusters, people in pixels."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgg.candidates import find_candidates
from hgg.config import ModelConfig
from hgg.labels import assign
from hgg.model import HGG
from hgg.poses import to_poses
from hgg.targets import Targets
from tests.benchmarks.crowds import Crowd, make_crowd, people_by_hgg
from tests.benchmarks.gpu_device import Row, Sizes, device, milliseconds, peak_memory, waits

PEOPLE = (5, 30)


def inference_rows(folder: Path, sizes: Sizes) -> list[Row]:
    """Of a few people and of many, one photograph and a batch."""
    return [
        Row({"people": people, "batch": batch}, 15, partial(_inference, people, batch, sizes))
        for people in PEOPLE
        for batch in (1, sizes.batch)
    ]


@torch.no_grad()
def _inference(people: int, batch: int, sizes: Sizes) -> dict[str, Any]:
    """Times of each stage alone and of grouping as a whole, its waits and its share, and memory."""
    model = _model(sizes)
    crowd = _crowd(people, batch, model.config.network.visual_dim)
    images = torch.rand(batch, 3, model.config.network.input_size, model.config.network.input_size)
    images = images.to(device()).contiguous(memory_format=torch.channels_last)
    find = partial(find_candidates, crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
    candidates = find()
    # Merges go by whose each candidate is, as an untrained network would merge at random.
    labels = assign(candidates, crowd.targets, model.config.joints)
    embed = partial(model.grouping.embed, candidates)
    merge = partial(
        model.grouping.cluster, *embed(), candidates, labels, torch.ones_like(labels[:, 0], dtype=torch.bool)
    )
    hierarchy = merge()
    clusters = model.people(hierarchy, candidates)
    whole = partial(people_by_hgg, crowd, model, labels)
    with peak_memory() as memory:
        network = milliseconds(partial(_network, model, images), sizes.steps)
        grouping = milliseconds(whole, sizes.steps)
    return {
        "candidates": round(candidates.valid.sum(dim=1).float().mean().item(), 1),
        "rounds": len(hierarchy.rounds),
        "network_ms": network,
        "maps_to_people_ms": grouping,
        "candidates_ms": milliseconds(find, sizes.steps),
        "embedding_ms": milliseconds(embed, sizes.steps),
        "clustering_ms": milliseconds(merge, sizes.steps),
        "poses_ms": milliseconds(
            partial(to_poses, candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True),
            sizes.steps,
        ),
        "grouping_share": round(grouping / (network + grouping), 3),
        "waits": waits(whole),
        **memory,
    }


def _model(sizes: Sizes) -> HGG:
    torch.manual_seed(0)
    model = HGG(ModelConfig(network=sizes.network)).eval()
    model.to(device(), memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
    return model


def _network(model: HGG, images: Tensor) -> None:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
        model(images)


def _crowd(people: int, batch: int, visual_dim: int) -> Crowd:
    """So many images' maps, as a trained network would give them: people differ from image to image."""
    crowds = [make_crowd(people, seed, visual_dim=visual_dim) for seed in range(batch)]
    joined = zip(*((c.heatmaps, c.tags, c.visual, *c.targets) for c in crowds), strict=True)
    heatmaps, tags, visual, *targets = (torch.cat(parts).to(device()) for parts in joined)
    return Crowd(crowds[0].joints, Targets(*targets), heatmaps, tags, visual)
