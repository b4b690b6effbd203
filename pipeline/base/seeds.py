"""Randomness that follows from what it is for (a step, a sample, a view), whoever draws it and when."""

import hashlib
import struct

import numpy as np


def step_seed(seed: int, step: int, of_rank: int) -> int:
    """Seed of a step's dropout and teacher draws; from it alone a resumed run repeats what was drawn."""
    return int(np.random.SeedSequence((seed, step, of_rank)).generate_state(1, np.uint64)[0] >> 1)


def sample_key(seed: int, epoch: int, image_id: int, view: int) -> int:
    """64 bits that decide how a sample is augmented in an epoch, wherever it is read."""
    packed = struct.pack("<4q", seed, epoch, image_id, view)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little", signed=True)


def view_rng(seed: int, image_id: int, view: int) -> np.random.Generator:
    """The source of a view's augmentation, the same whichever worker draws from it and in whatever order."""
    return np.random.default_rng([seed, image_id, view])
