"""Rows of samples to one batch of tensors.

Letters: B images, P people (padded), J joint types, H = W input pixels, S output cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from hgg.targets import Targets
from pipeline.base.seeds import sample_key
from pipeline.batches.units import Rows, SampleShape

Place = tuple[Rows, int]
"""A row of a unit."""


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
        moved = self.moved(device)
        heatmaps, mask = moved.targets.heatmaps.float().div_(255), moved.targets.mask.float()
        return moved._replace(targets=moved.targets._replace(heatmaps=heatmaps, mask=mask))

    def moved(self, device: torch.device | str) -> "Batch":
        """The batch on a device, as it is stored; from pinned memory the copy to a GPU is only begun."""
        images, ids, keys = (
            t.to(device, non_blocking=True) for t in (self.images, self.image_ids, self.keys)
        )
        targets = Targets(*(t.to(device, non_blocking=True) for t in self.targets))
        return Batch(images, targets, ids, keys)


class Buffers:
    """Memory of one batch, which samples are decoded into and which can be used again for another.

    Args:
        images: B.
        shape: of the samples.
        pinned: memory that a GPU copies from by itself.
    """

    def __init__(self, images: int, shape: SampleShape, pinned: bool = False) -> None:
        def memory(*sizes: int, dtype: torch.dtype = torch.uint8) -> Tensor:
            return torch.empty(images, *sizes, dtype=dtype, pin_memory=pinned)

        self.shape = shape
        self.images_BHW3 = memory(shape.input_size, shape.input_size, 3)
        self.heatmaps_BJSS = memory(shape.joint_types, shape.output_size, shape.output_size)
        self.masks_BSS = memory(shape.output_size, shape.output_size)
        self.image_ids_B = memory(dtype=torch.long)
        self.keys_B = memory(dtype=torch.long)
        self.people: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0))] * images

    def __len__(self) -> int:
        return len(self.people)

    def decode(self, places: Sequence[Place], first: int, seed: int, epoch: int) -> None:
        """Decode rows into the images from `first` on; several threads may each decode a part.

        What takes long (JPEG, copies) is done without the interpreter's lock.

        Raises `UserError`, with file and row, where a JPEG does not decode to the size of the others. What
        else goes wrong bears a note that says where.
        """
        part = slice(first, first + len(places))
        images, ids, keys = (t[part].numpy() for t in (self.images_BHW3, self.image_ids_B, self.keys_B))
        heatmaps, masks = (t[part].flatten(1).numpy() for t in (self.heatmaps_BJSS, self.masks_BSS))
        for b, (rows, row) in enumerate(places):
            with rows.named(row):
                images[b] = decode_jpeg(rows, row, self.shape.input_size)
                heatmaps[b] = rows.heatmaps.row(row)
                ids[b] = rows.image_ids[row]
                keys[b] = sample_key(seed, epoch, int(ids[b]), int(rows.views[row]))
                self.people[first + b] = rows.joints.row(row), rows.areas.row(row)
        packed = np.stack([rows.masks.row(row) for rows, row in places])
        masks[:] = np.unpackbits(packed, axis=1, count=masks.shape[1])

    def batch(self) -> Batch:
        """The batch, once every image is decoded; it lies in this memory, but for its joints and areas."""
        targets = Targets(self.heatmaps_BJSS, self.masks_BSS, *_padded(self.people, self.shape.joint_types))
        return Batch(self.images_BHW3.permute(0, 3, 1, 2), targets, self.image_ids_B, self.keys_B)


def collate(places: Sequence[Place], shape: SampleShape, seed: int, epoch: int) -> Batch:
    """Decode rows into a batch with memory of its own."""
    buffers = Buffers(len(places), shape)
    buffers.decode(places, 0, seed, epoch)
    return buffers.batch()


def decode_jpeg(rows: Rows, row: int, size: int) -> np.ndarray:
    """(size, size, 3) uint8 RGB. OpenCV decodes into memory of its own only."""
    jpeg = rows.jpegs.row(row)
    try:
        image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # OpenCV has two ways to say that it cannot
        image = None
    if image is None:
        raise rows.damage(row, f"a JPEG of {len(jpeg)} bytes that does not decode")
    if image.shape != (size, size, 3):
        raise rows.damage(row, f"a JPEG of {image.shape[1]} x {image.shape[0]} in place of {size} x {size}")
    return image


def _padded(people: Sequence[tuple[np.ndarray, np.ndarray]], joint_types: int) -> tuple[Tensor, Tensor]:
    """Joints (B, P, J, 3) and areas (B, P) of all images, padded with zeros to the largest P."""
    most = max(len(areas) for _, areas in people)
    joints_BPJ3 = np.zeros((len(people), most, joint_types, 3), np.float32)
    areas_BP = np.zeros((len(people), most), np.float32)
    for b, (joints, areas) in enumerate(people):
        joints_BPJ3[b, : len(areas)] = joints.reshape(-1, joint_types, 3)
        areas_BP[b, : len(areas)] = areas
    return torch.from_numpy(joints_BPJ3), torch.from_numpy(areas_BP)
