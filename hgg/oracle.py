"""The oracle: candidates grouped by the ground truth, which no grouping can be expected to beat.

Oracle minus HGG is what grouping can still win; one minus oracle is the detector's.

Letters: B images, N candidates, P people.
"""

import torch

from hgg.candidates import Candidates
from hgg.clusters import LEFT_OUT, Clusters
from hgg.labels import assign
from hgg.skeleton import COCO, Skeleton
from hgg.targets import Targets


@torch.no_grad()
def group_oracle(candidates: Candidates, targets: Targets, skeleton: Skeleton = COCO) -> Clusters:
    """Group candidates by the person that `hgg.labels.assign` gives them to.

    Background, duplicates of a labelled joint and what lies in an ignore region are left out.
    Of `targets`, the joints, areas and mask are read; heatmaps are not.
    """
    label_BN = assign(candidates, targets, skeleton)
    batch, num_candidates = label_BN.shape
    index_BN = torch.arange(num_candidates, device=label_BN.device).expand(batch, -1)
    first_BP = index_BN.new_full((batch, targets.joints.shape[1] + 1), num_candidates)
    person_BN = label_BN.clamp(min=-1) + 1  # column 0 takes everything that is nobody's
    first_BP.scatter_reduce_(1, person_BN, index_BN, reduce="amin")
    member_BN = torch.where(label_BN >= 0, first_BP.gather(1, person_BN), LEFT_OUT)
    return Clusters(member_BN, torch.ones_like(candidates.score))
