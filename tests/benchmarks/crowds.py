"""A fixed generator of plausible people at 512 x 512, and the maps of a network that saw them well.

Letters: P people, J joint types, S side of the output maps in cells, V visual channels.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgg.associative import group_associative
from hgg.candidates import Candidates, find_candidates
from hgg.config import CandidateConfig, GroupingConfig, ModelConfig, NetworkConfig
from hgg.labels import assign
from hgg.model import HGG
from hgg.ohgc import Hierarchy  # where earlier commits have it too, which make bench-compare runs
from hgg.poses import Poses, to_poses
from hgg.skeleton import COCO, NUM_JOINTS
from hgg.targets import Targets, encode_heatmaps

SIDE, CELLS = 512, 128
PEOPLE = (5, 15, 30)
VISIBLE = 0.9  # share of the joints that are labelled
SPURIOUS = 4  # peaks that are nobody's, for each person
# A standing person in a box of height 1: COCO's joints from nose to ankles, left before right.
STANDING = np.array(
    [
        (0.00, 0.06), (0.02, 0.04), (-0.02, 0.04), (0.05, 0.06), (-0.05, 0.06), (0.11, 0.20), (-0.11, 0.20),
        (0.15, 0.36), (-0.15, 0.36), (0.16, 0.50), (-0.16, 0.50), (0.08, 0.52), (-0.08, 0.52), (0.09, 0.74),
        (-0.09, 0.74), (0.09, 0.96), (-0.09, 0.96),
    ]
)  # fmt: skip


class Crowd(NamedTuple):
    """People of one image, and maps of them."""

    joints: np.ndarray
    """(P, J, 3) in cells; x, y and whether the joint is labelled."""
    targets: Targets
    """Of a batch of one."""
    heatmaps: Tensor
    """(1, J, S, S): the targets with noise, and peaks that are nobody's."""
    tags: Tensor
    """(1, J, S, S): each person's tag around its joints."""
    visual: Tensor
    """(1, V, S, S)."""


def make_crowd(people: int, seed: int = 0, sigma: float = 2.0, visual_dim: int = 64) -> Crowd:
    """People of 80 to 350 pixels, turned by up to 30 degrees, their joints moved by a twentieth of that."""
    rng = np.random.default_rng((seed, people))
    joints_PJ3 = np.zeros((people, NUM_JOINTS, 3), np.float32)
    height_P = rng.uniform(80, 350, people)
    angle_P = rng.uniform(-np.pi / 6, np.pi / 6, people)
    for person, (height, angle) in enumerate(zip(height_P, angle_P, strict=True)):
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shape_J2 = (STANDING - STANDING.mean(axis=0)) @ turned.T * height
        shape_J2 += rng.normal(0, 0.05 * height / 2, shape_J2.shape)
        middle = rng.uniform(0.1 * SIDE, 0.9 * SIDE, 2)
        joints_PJ3[person, :, :2] = (shape_J2 + middle) * CELLS / SIDE
    inside_PJ = ((joints_PJ3[..., :2] >= 0) & (joints_PJ3[..., :2] <= CELLS - 1)).all(axis=-1)
    joints_PJ3[..., 2] = inside_PJ & (rng.random(inside_PJ.shape) < VISIBLE)
    joints_PJ3[joints_PJ3[..., 2] == 0] = 0
    return _with_maps(joints_PJ3, height_P, sigma, visual_dim, rng)


def _with_maps(
    joints_PJ3: np.ndarray, height_P: np.ndarray, sigma: float, visual_dim: int, rng: np.random.Generator
) -> Crowd:
    truth_JSS = encode_heatmaps(joints_PJ3, CELLS, sigma)
    nobody = rng.uniform(0, CELLS - 1, (SPURIOUS * len(joints_PJ3), NUM_JOINTS, 3)).astype(np.float32)
    nobody[..., 2] = rng.random(nobody.shape[:2]) < 1 / NUM_JOINTS
    seen_JSS = np.maximum(truth_JSS * 0.9, encode_heatmaps(nobody, CELLS, sigma) * 0.4)
    seen_JSS += rng.normal(0, 0.02, seen_JSS.shape)
    tags_JSS = rng.normal(0, 0.1, seen_JSS.shape)
    for person, joints_J3 in enumerate(joints_PJ3):
        for kind in np.flatnonzero(joints_J3[:, 2]):
            x, y = joints_J3[kind, :2].round().astype(int)
            tags_JSS[kind, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] += 2.0 * person
    targets = Targets(
        torch.from_numpy(truth_JSS)[None],
        torch.ones(1, CELLS, CELLS),
        torch.from_numpy(joints_PJ3)[None],
        torch.from_numpy((height_P / 4).astype(np.float32) ** 2 / 3)[None],
    )
    visual = rng.normal(0, 1, (1, visual_dim, CELLS, CELLS)).astype(np.float32)
    seen, tags = (torch.from_numpy(part.astype(np.float32))[None] for part in (seen_JSS, tags_JSS))
    return Crowd(joints_PJ3, targets, seen, tags, torch.from_numpy(visual))


def grouping_model(visual_dim: int = 64) -> HGG:
    """The paper's grouping beside a network of no size, which no benchmark of grouping runs."""
    network = NetworkConfig(input_size=SIDE, stacks=1, channels=8, increase=0, depth=1, visual_dim=visual_dim)
    torch.manual_seed(0)
    return HGG(ModelConfig(network=network, grouping=GroupingConfig(), candidates=CandidateConfig())).eval()


def find(crowd: Crowd, model: HGG, limit: int | None = None) -> tuple[Candidates, Tensor]:
    """Candidates of a crowd, and whose each is."""
    candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates, limit)
    return candidates, assign(candidates, crowd.targets, COCO)


def people_by_tags(crowd: Crowd, model: HGG) -> list[Poses]:
    """Maps to people by associative embedding's grouping, missing joints filled."""
    candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
    clusters = group_associative(candidates, 1.0, COCO)
    return to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)


def people_by_hgg(crowd: Crowd, model: HGG, label_BN: Tensor) -> tuple[list[Poses], Hierarchy]:
    """Maps to people by HGG, missing joints filled, and the rounds.

    It merges by the ground truth, as a trained model would: an untrained one merges nothing, or at random.
    """
    everyone = torch.ones(len(label_BN), dtype=torch.bool, device=label_BN.device)
    candidates = find_candidates(crowd.heatmaps, crowd.tags, crowd.visual, model.config.candidates)
    hierarchy = model.grouping(candidates, label_BN, everyone)
    clusters = model.people(hierarchy, candidates)
    poses = to_poses(candidates, clusters, crowd.heatmaps, crowd.tags[:, None], fill_missing=True)
    return poses, hierarchy
