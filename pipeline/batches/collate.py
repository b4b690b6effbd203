"""Rows of samples to one batch of tensors.

Letters: B images, P people (padded), J joint types, H = W input pixels, S output cells.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from hgg.skeleton import NUM_JOINTS
from hgg.targets import Targets
from pipeline.base.seeds import sample_key
from pipeline.data.rows import unpack_mask


class Batch(NamedTuple):
    """A batch as it is read; `to` makes its targets what the losses take."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB; channels last in memory."""
    targets: Targets
    """As stored, heatmaps (0 to 255) and mask (0, 1) are uint8, a quarter of the bytes to move."""
    image_ids: Tensor
    """(B,) long."""
    keys: Tensor
    """(B,) long; the random bits of each sample's augmentation (`pipeline.batches.augment`)."""

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device, with the float32 targets that `Targets` promises."""
        moved = Targets(*(t.to(device, non_blocking=True) for t in self.targets))
        targets = moved._replace(heatmaps=moved.heatmaps.float().div_(255), mask=moved.mask.float())
        images, ids, keys = (
            t.to(device, non_blocking=True) for t in (self.images, self.image_ids, self.keys)
        )
        return Batch(images, targets, ids, keys)


def collate(rows: Sequence[dict[str, Any]], seed: int, epoch: int, joint_types: int = NUM_JOINTS) -> Batch:
    """Decode rows (`rows.SAMPLE_SCHEMA`, values still Arrow's) of so many joint types and stack them."""
    images = np.stack([_decode(row["jpeg"].as_buffer()) for row in rows])
    side = round((len(rows[0]["heatmaps"].as_buffer()) // joint_types) ** 0.5)
    shape = (joint_types, side, side)
    heatmaps = np.stack([np.frombuffer(r["heatmaps"].as_buffer(), np.uint8).reshape(shape) for r in rows])
    masks = np.stack([unpack_mask(row["mask"].as_py(), side) for row in rows])
    joints, areas = _padded(rows, joint_types)
    ids = [row["image_id"].as_py() for row in rows]
    keys = [sample_key(seed, epoch, i, row["view"].as_py()) for i, row in zip(ids, rows, strict=True)]
    targets = Targets(torch.from_numpy(heatmaps), torch.from_numpy(masks), joints, areas)
    return Batch(torch.from_numpy(images).permute(0, 3, 1, 2), targets, torch.tensor(ids), torch.tensor(keys))


def _decode(jpeg: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None, "a sample's JPEG, written by this pipeline, does not decode"
    return image


def _padded(rows: Sequence[dict[str, Any]], joint_types: int) -> tuple[Tensor, Tensor]:
    """Joints (B, P, J, 3) and areas (B, P) of all rows, padded with zeros to the largest P."""
    areas = [row["areas"].values.to_numpy(zero_copy_only=False) for row in rows]
    people = max(len(a) for a in areas)
    joints_BPJ3 = np.zeros((len(rows), people, joint_types, 3), np.float32)
    areas_BP = np.zeros((len(rows), people), np.float32)
    for b, (row, area) in enumerate(zip(rows, areas, strict=True)):
        flat = row["joints"].values.to_numpy(zero_copy_only=False)
        joints_BPJ3[b, : len(area)] = flat.reshape(-1, joint_types, 3)
        areas_BP[b, : len(area)] = area
    return torch.from_numpy(joints_BPJ3), torch.from_numpy(areas_BP)


def joined(parts: Sequence[Batch]) -> Batch:
    """One batch of several, padded to the largest P of them."""
    people = max(part.targets.areas.shape[1] for part in parts)
    targets = [_widened(part.targets, people) for part in parts]
    return Batch(
        torch.cat([part.images for part in parts]),
        Targets(*(torch.cat(field) for field in zip(*targets, strict=True))),
        torch.cat([part.image_ids for part in parts]),
        torch.cat([part.keys for part in parts]),
    )


def _widened(targets: Targets, people: int) -> Targets:
    missing = people - targets.areas.shape[1]
    pad = torch.nn.functional.pad
    return targets._replace(
        joints=pad(targets.joints, (0, 0, 0, 0, 0, missing)), areas=pad(targets.areas, (0, missing))
    )
