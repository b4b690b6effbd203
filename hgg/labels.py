"""Labels of candidates, of edges between macro-nodes, and of macro-nodes (section 3.2).

A label is a person's index, or one of three marks. Candidates are given to people by
per-keypoint OKS; the label of a merged macro-node follows from its members' alone, so
every round of Algorithm 1 can be supervised.

The one-to-one assignment is the same locally dominant matching that merges macro-nodes,
not the Hungarian algorithm: it runs for a whole batch at once. With jittered candidates around
the joints of 39 photographs of COCO, 0 to 0.5 % of the accepted pairs differ; where joints of one
type lie about 1.5 OKS units (2k sqrt(area)) apart, 2 to 9 % do (`tests/hgg/test_labels.py`).

Letters: B images, N candidates, P people, J joint types, E edges.
"""

import torch
from torch import Tensor

from hgg.candidates import Candidates
from hgg.matching import dominant_matching
from hgg.skeleton import COCO, Skeleton
from hgg.targets import Targets

BACKGROUND = -1  # a candidate that is nobody's joint
IGNORED = -2  # not supervised: a duplicate of a labelled joint, or inside an ignore region
IMPURE = -3  # a macro-node with candidates of two people, or with background beside anything
OKS_ACCEPTED = 0.5  # as the assignment radius of other graph groupings; half of the best possible
SMALLEST_AREA = 1.0  # cells²; keeps OKS finite for people annotated without an area


def keypoint_oks(candidates: Candidates, targets: Targets, skeleton: Skeleton = COCO) -> Tensor:
    """Per-keypoint OKS of every candidate and every person's joint of its type.

    exp(-d² / (2 area (2k)²)) with the skeleton's constants k; 0 where the joint is not labelled or
    the candidate is padding. Shape (B, N, P).
    """
    assert targets.joints.shape[2] == skeleton.count, (targets.joints.shape, skeleton.name)
    joints_BNP3 = _joints_of_type(candidates.kind, targets.joints)
    distance_BNP = (candidates.xy[:, :, None] - joints_BNP3[..., :2]).square().sum(-1)
    sigma_J = torch.tensor(skeleton.sigmas, device=candidates.xy.device, dtype=torch.float32)
    spread_BN = 2 * (2 * sigma_J[candidates.kind]).square()
    area_BP = targets.areas.clamp(min=SMALLEST_AREA)
    oks_BNP = torch.exp(-distance_BNP / (spread_BN[..., None] * area_BP[:, None]))
    return oks_BNP * (joints_BNP3[..., 2] > 0) * candidates.valid[..., None]


def _joints_of_type(kind_BN: Tensor, joints_BPJ3: Tensor) -> Tensor:
    """Every person's joint of each candidate's type, (B, N, P, 3)."""
    joints_BJP3 = joints_BPJ3.transpose(1, 2)
    index_BNP3 = kind_BN[..., None, None].expand(-1, -1, *joints_BJP3.shape[2:])
    return joints_BJP3.gather(1, index_BNP3)


@torch.no_grad()
def assign(candidates: Candidates, targets: Targets, skeleton: Skeleton = COCO) -> Tensor:
    """Give candidates to people, one to one per joint, at a per-keypoint OKS of at least 0.5.

    Returns:
        (B, N) int64: person in [0, P), `BACKGROUND` or `IGNORED`. Padding is background.
    """
    oks_BNP = keypoint_oks(candidates, targets, skeleton)
    near_BNP = oks_BNP >= OKS_ACCEPTED
    image_E, candidate_E, person_E = near_BNP.nonzero(as_tuple=True)
    batch, num_candidates, people = oks_BNP.shape
    joint_E = (image_E * people + person_E) * targets.joints.shape[2] + candidates.kind[image_E, candidate_E]
    node_E = image_E * num_candidates + candidate_E
    nodes = batch * num_candidates
    chosen_E = dominant_matching(
        torch.stack((node_E, nodes + joint_E)),
        oks_BNP[image_E, candidate_E, person_E],
        nodes + targets.joints.shape[:3].numel(),
    )
    label_BN = torch.full_like(candidates.kind, BACKGROUND)
    label_BN[near_BNP.any(dim=2) | (_in_ignore_region(candidates, targets.mask) & candidates.valid)] = IGNORED
    label_BN[image_E[chosen_E], candidate_E[chosen_E]] = person_E[chosen_E]
    return label_BN


def _in_ignore_region(candidates: Candidates, mask_BSS: Tensor) -> Tensor:
    """Whether the mask leaves the candidate's cell unsupervised, (B, N) bool."""
    side = mask_BSS.shape[-1]
    cell_BN = candidates.cell[..., 1] * side + candidates.cell[..., 0]
    return mask_BSS.flatten(1).gather(1, cell_BN) < 0.5


def merged_label(first_E: Tensor, second_E: Tensor) -> Tensor:
    """Label of the members of two macro-nodes together, ignored ones not counted.

    One person stays that person; two people, and background beside anything, are impure.
    Commutative and associative, so the order of the merges does not matter.
    """
    same = (first_E == second_E) & (first_E >= 0)
    label_E = torch.where(same, first_E, IMPURE)
    label_E = torch.where(second_E == IGNORED, first_E, label_E)
    return torch.where(first_E == IGNORED, second_E, label_E)


def with_ignored(label_A: Tensor, ignored_A: Tensor) -> Tensor:
    """Label of macro-nodes, of which some have ignored members: these are impure or ignored."""
    return torch.where(ignored_A & (label_A != IMPURE), IGNORED, label_A)


def edge_label(first_E: Tensor, second_E: Tensor) -> tuple[Tensor, Tensor]:
    """Target of the edge discriminator, and whether the edge is supervised.

    1 where the union is one person; 0 where both are pure and differ, or one is background;
    not supervised where either is impure or ignored.

    Returns:
        float target (E,) and bool supervised (E,).
    """
    target_E = ((first_E == second_E) & (first_E >= 0)).float()
    supervised_E = (first_E >= BACKGROUND) & (second_E >= BACKGROUND)
    return target_E, supervised_E


def macro_label(label_E: Tensor) -> tuple[Tensor, Tensor]:
    """Target of the macro-node discriminator, and whether the macro-node is supervised.

    1 where all members are one person, 0 where impure; not supervised where ignored.
    """
    return (label_E >= 0).float(), label_E != IGNORED
