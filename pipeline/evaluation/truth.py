"""The labelled people of a record: as targets, as poses, and how much they overlap.

Letters: B images, P people, J joint types, S side of the output maps in cells.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgg.poses import Poses
from hgg.skeleton import COCO, Skeleton
from hgg.targets import Targets
from pipeline.data.encode import to_labels


def true_people(
    records: list[dict[str, Any]],
    transforms: np.ndarray,
    sizes: Sequence[Sequence[int]],
    skeleton: Skeleton = COCO,
) -> Targets:
    """Joints, areas and masks of records under their transforms (B, 2, 3), on the CPU; without heatmaps.

    Args:
        records: of a batch.
        transforms: original pixels to input pixels.
        sizes: columns and rows of each image's output maps. Masks are as large as the largest, 0 beyond.
        skeleton: the people's joint types.
    """
    labels = [
        to_labels(record, transform, *size, joint_types=skeleton.count)
        for record, transform, size in zip(records, transforms, sizes, strict=True)
    ]
    most = max(len(label.areas) for label in labels)
    joints_BPJ3 = torch.zeros(len(labels), most, skeleton.count, 3)
    areas_BP = torch.zeros(len(labels), most)
    for place, label in enumerate(labels):
        joints_BPJ3[place, : len(label.areas)] = torch.from_numpy(label.joints)
        areas_BP[place, : len(label.areas)] = torch.from_numpy(label.areas)
    columns, rows = np.max(sizes, axis=0)
    mask_BSS = torch.zeros(len(labels), int(rows), int(columns))
    for place, (label, size) in enumerate(zip(labels, sizes, strict=True)):
        mask_BSS[place, : size[1], : size[0]] = torch.from_numpy(label.mask)
    heatmaps: Tensor = torch.zeros(len(labels), skeleton.count, 0, 0)
    return Targets(heatmaps, mask_BSS, joints_BPJ3, areas_BP)


def true_poses(record: dict[str, Any], skeleton: Skeleton = COCO) -> Poses:
    """The people of a record, labelled joints with score 1."""
    points = np.array([person["keypoints"] for person in record["people"]], np.float32)
    keypoints_PJ3 = points.reshape(-1, skeleton.count, 3)
    keypoints_PJ3[..., 2] = keypoints_PJ3[..., 2] > 0
    return Poses(keypoints_PJ3, np.ones(len(keypoints_PJ3), np.float32))


def crowding(record: dict[str, Any]) -> float:
    """How much the labelled people of a record overlap."""
    boxes_P4 = np.array([person["box"] for person in record["people"]], np.float64).reshape(-1, 4)
    return overlap(boxes_P4)


def overlap(boxes_P4: np.ndarray) -> float:
    """How much people overlap: the sum over pairs of the IoU of their boxes (x, y, width, height)."""
    low, size = boxes_P4[:, :2], boxes_P4[:, 2:]
    high = low + size
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    intersection_PP = shared.clip(min=0).prod(axis=-1)
    area_P = size.prod(axis=-1)
    union_PP = area_P[:, None] + area_P[None] - intersection_PP
    ratio_PP = intersection_PP / np.maximum(union_PP, 1.0)
    return float(np.triu(ratio_PP, k=1).sum())
