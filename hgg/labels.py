"""Labels of candidates, of edges between macro-nodes, and of macro-nodes (section 3.2).

A candidate's label is a person's index, or one of two marks. Candidates are given to people by
per-keypoint OKS; what a macro-node is follows from its members' labels alone, so every
round of Algorithm 1 can be supervised.

A macro-node bears three marks: the lowest person among its members, minus the highest, and -1
where a member is ignored, else 0. A candidate that is nobody's counts as a person of its own, an
ignored one as none. So marks of macro-nodes that merge are minima, and a macro-node is pure where
the first two add up to 0.

The one-to-one assignment is the same locally dominant matching that merges macro-nodes,
not the Hungarian algorithm: it runs for a whole batch at once. With jittered candidates around
the joints of 39 photographs of COCO, 0 to 0.5 % of the accepted pairs differ; where joints of one
type lie about 1.5 OKS units (2k sqrt(area)) apart, 2 to 9 % do (`tests/hgg/test_labels.py`).

Letters: B images, N candidates, P people, J joint types, E edges,
X macro-nodes, of three marks each.
"""

import torch
from torch import Tensor

from hgg.candidates import Candidates
from hgg.constants import constant
from hgg.matching import dominant_assignment
from hgg.skeleton import COCO, Skeleton
from hgg.targets import Targets

BACKGROUND = -1  # a candidate that is nobody's joint
IGNORED = -2  # not supervised: a duplicate of a labelled joint, or inside an ignore region
UNCLEAR = -3  # of a macro-node that is not one person for certain
NOBODY = 2**40  # and a candidate's number: the person that a candidate of the background is, and no other
UNKNOWN = 2**60  # as lowest and as minus highest person: no member is known
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
    sigma_J = constant(skeleton.sigmas, candidates.xy.device)
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
    nothing_BN = ~near_BNP.any(dim=2)
    label_BN = torch.where(
        nothing_BN & ~(_in_ignore_region(candidates, targets.mask) & candidates.valid), BACKGROUND, IGNORED
    )
    if oks_BNP.shape[2] == 0:
        return label_BN
    # Types do not compete: each is a graph of its own, of all candidates and people.
    type_J = torch.arange(skeleton.count, device=oks_BNP.device)
    open_BJNP = (candidates.kind[:, None] == type_J[:, None])[..., None] & near_BNP[:, None]
    weight_GNP = torch.where(open_BJNP, oks_BNP[:, None], -torch.inf).flatten(0, 1)
    person_BN = dominant_assignment(weight_GNP).view(-1, skeleton.count, label_BN.shape[1]).amax(dim=1)
    return torch.where(person_BN >= 0, person_BN, label_BN)


def _in_ignore_region(candidates: Candidates, mask_BSS: Tensor) -> Tensor:
    """Whether the mask leaves the candidate's cell unsupervised, (B, N) bool."""
    side = mask_BSS.shape[-1]
    cell_BN = candidates.cell[..., 1] * side + candidates.cell[..., 0]
    return mask_BSS.flatten(1).gather(1, cell_BN) < 0.5


def marks_of(label_BN: Tensor) -> Tensor:
    """Marks of macro-nodes of one candidate each, by its label: (B, N, 3) int64.

    Those of a macro-node are the minima of its members' marks, in whatever order they merge.
    """
    number_BN = torch.arange(label_BN.numel(), device=label_BN.device).view_as(label_BN)
    person_BN = torch.where(label_BN == BACKGROUND, NOBODY + number_BN, label_BN)
    ignored_BN = label_BN == IGNORED
    low_BN = person_BN.masked_fill(ignored_BN, UNKNOWN)
    high_BN = (-person_BN).masked_fill(ignored_BN, UNKNOWN)
    return torch.stack((low_BN, high_BN, -ignored_BN.long()), dim=-1)


def single_person(marks_XK: Tensor) -> Tensor:
    """The person that every member is, (X,) int64; `UNCLEAR` where they are two, or some are ignored."""
    low_X, high_X, ignoring_X, *_ = marks_XK.unbind(-1)
    return torch.where((low_X + high_X) | ignoring_X == 0, low_X, UNCLEAR)


def edge_label(first_E: Tensor, second_E: Tensor) -> tuple[Tensor, Tensor]:
    """Target of the edge discriminator, and whether the edge is supervised.

    1 where the union is one person; 0 where both are pure and differ, or one is background;
    not supervised where either is impure or has an ignored member.

    Args:
        first_E: from `single_person`, of one end.
        second_E: of the other.

    Returns:
        float target (E,) and bool supervised (E,).
    """
    supervised_E = torch.minimum(first_E, second_E) >= 0
    return ((first_E == second_E) & supervised_E).float(), supervised_E


def macro_label(marks_XK: Tensor) -> tuple[Tensor, Tensor]:
    """Target of the macro-node discriminator, and whether the macro-node is supervised.

    1 where all members are one person, 0 where they are two, or background beside anything. One that is not
    known to be two people is not supervised where members are ignored.
    """
    low_X, high_X, ignoring_X, *_ = marks_XK.unbind(-1)
    spread_X = low_X + high_X
    return (spread_X == 0).float(), (spread_X < 0) | (ignoring_X == 0)
