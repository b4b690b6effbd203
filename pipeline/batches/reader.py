"""Samples (Parquet) to the batches of each training step, without Ray. Letter: B images."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pipeline.base.errors import UserError
from pipeline.batches.collate import Batch, collate
from pipeline.batches.order import Order
from pipeline.batches.units import Rows, SampleShape, Unit, find_units, read_unit
from pipeline.data.shards import samples_manifest

Loaded = TypeVar("Loaded")
"""What stands for a unit's rows: they themselves, or the promise of a thread to read them."""


class Step(NamedTuple, Generic[Loaded]):
    """What a batch is made of."""

    epoch: int
    places: list[tuple[Loaded, int]]
    """Unit and row of each of the B images, in their order."""


class SampleReader:
    """The endless stream of one rank's training batches, epoch after epoch.

    A function of (seed, rank) and the samples; `start_step` begins anywhere in it without decoding what
    lies before. All ranks' batches of one step together are the same samples for every `world`
    (`pipeline.batches.order`). Memory holds one window of undecoded rows per lane, whatever the data's size.
    Iterating decodes in the calling thread, each batch into memory of its own;
    `pipeline.batches.loader.training_batches` decodes ahead, into memory that is used again.

    Args:
        folder: samples of a split.
        batch_size: B, images per step of this rank.
        rank: which part of each step's images, below `world`.
        world: number of ranks.
        seed: seed of order and augmentation keys.
        start_step: step (counted from 0 over all epochs) that comes first.
        held_out: share of the shards that is left out (`pipeline.data.shards.held_out_shards`).

    Raises `UserError` where there are no samples or too few for one batch.
    """

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        start_step: int = 0,
        held_out: float = 0.0,
    ) -> None:
        manifest = samples_manifest(folder)
        self.units = find_units(manifest, held_out)
        self.shape = SampleShape.of(manifest)
        self.batch_size = batch_size
        self.start_step = start_step
        try:
            self.order = Order([unit.rows for unit in self.units], batch_size * world, world, seed)
        except ValueError as error:
            raise UserError(f"{folder}: {error}; use a smaller batch_size or more images") from error
        share = self.order.lanes // world
        self.lanes = range(rank * share, (rank + 1) * share)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch, for every rank the same."""
        return self.order.steps

    def __iter__(self) -> Iterator[Batch]:
        return map(self._collate, self.steps(partial(read_unit, shape=self.shape)))

    def steps(self, read: Callable[[Unit], Loaded]) -> Iterator[Step[Loaded]]:
        """What each batch is made of, decoding nothing.

        Args:
            read: called for each unit before the first step that needs a row of it.
        """
        epoch, step = divmod(self.start_step, self.order.steps)
        for now in count(epoch):
            streams = [self._lane(now, lane, step, read) for lane in self.lanes]
            for _ in range(step, self.order.steps):
                yield Step(now, [place for lane in streams for place in islice(lane, self.order.lane_rows)])
            step = 0

    def _lane(
        self, epoch: int, lane: int, step: int, read: Callable[[Unit], Loaded]
    ) -> Iterator[tuple[Loaded, int]]:
        """Unit and row of one lane's images, holding the units of one window."""
        held: dict[int, Loaded] = {}
        for window in self.order.windows(epoch, lane, step):
            needed = sorted({unit for unit, _ in window})
            held = {unit: held[unit] if unit in held else read(self.units[unit]) for unit in needed}
            for unit, row in window:
                yield held[unit], row

    def _collate(self, step: Step[Rows]) -> Batch:
        return collate(step.places, self.shape, self.order.seed, step.epoch)


def read_in_order(folder: Path, batch_size: int) -> Iterator[Batch]:
    """Every sample once, in the files' order, the last batch shorter; for validation."""
    manifest = samples_manifest(folder)
    shape = SampleShape.of(manifest)
    loaded = (read_unit(unit, shape) for unit in find_units(manifest))
    places = ((rows, row) for rows in loaded for row in range(rows.unit.rows))
    while batch := list(islice(places, batch_size)):
        yield collate(batch, shape, 0, 0)
