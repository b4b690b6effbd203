"""In which order training reads samples: a function of (seed, epoch), whatever the number of workers.

Three things have to hold at once. The images of a step must not depend on how many ranks share
the work, so that one and two workers see the same losses. No rank may read what another one needs,
since compressed columns cost about as much to read as a picture to decode. And a run must start at
any step without decoding what lies before it.

So an epoch is dealt into lanes. The units (file, row group) are shuffled; the rows in that order
are cut into `lanes` equal segments; each lane walks its own segment, its rows shuffled inside
windows of `WINDOW`. Step k takes the k-th slice of every lane. A rank owns a contiguous block of
the lanes, so a unit is read once, or twice where a segment's end cuts it. The number of lanes
follows from the batch size alone as long as the number of ranks divides it; where a lane stands at
step k is a multiplication.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

LANES = 16  # lanes where the batch size divides by it; each holds a window of rows in memory
WINDOW = 64  # rows that are shuffled together within a lane


class Order:
    """The order of the rows of a set of units.

    Args:
        unit_rows: rows of every unit.
        batch_size: rows per step over all ranks.
        world: ranks; divides `batch_size`.
        seed: seed of all shuffling.

    Attributes:
        lanes: number of lanes, a multiple of `world` and a divisor of `batch_size`.
        lane_rows: rows that a lane gives to a step.
        steps: whole steps in an epoch; the rows left over (fewer than a batch) are others in every epoch.

    Raises `ValueError` where the batch does not divide or the rows do not fill one batch.
    """

    def __init__(self, unit_rows: Sequence[int], batch_size: int, world: int = 1, seed: int = 0) -> None:
        if batch_size % world:
            raise ValueError(f"a batch of {batch_size} does not divide by {world} workers")
        self.unit_rows = np.asarray(unit_rows, np.int64)
        self.lanes = math.lcm(math.gcd(batch_size, LANES), world)
        self.lane_rows = batch_size // self.lanes
        self.steps = int(self.unit_rows.sum()) // batch_size
        self.seed = seed
        if self.steps == 0:
            raise ValueError(f"{self.unit_rows.sum()} samples do not fill one batch of {batch_size}")

    def windows(self, epoch: int, lane: int, step: int) -> Iterator[list[tuple[int, int]]]:
        """What a lane reads in an epoch from a step on: lists of (unit, row), one a window."""
        units = self._rng(epoch).permutation(len(self.unit_rows))
        ends = np.cumsum(self.unit_rows[units])
        length = self.steps * self.lane_rows
        first = step * self.lane_rows
        for window in range(first // WINDOW, -(-length // WINDOW)):
            begin, end = window * WINDOW, min(length, (window + 1) * WINDOW)
            shuffled = begin + self._rng(epoch, lane, window).permutation(end - begin)
            position = lane * length + shuffled[max(0, first - begin) :]
            slot = np.searchsorted(ends, position, side="right")
            row = position - ends[slot] + self.unit_rows[units[slot]]
            yield list(zip(units[slot].tolist(), row.tolist(), strict=True))

    def _rng(self, *parts: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *parts))
