"""Log lines of how far some work has come."""

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TypeVar

LOG_SECONDS = 10.0  # between two lines, where the work comes in small parts

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Progress:
    """Log lines with the rate and the time left, as parts of the work are done.

    Args:
        title: what is done; a line begins with it.
        total: of units that there are to do.
        unit: plural, as "images".
        every: seconds between two lines at the least; by default `LOG_SECONDS`.
    """

    def __init__(self, title: str, total: int, unit: str = "images", *, every: float | None = None) -> None:
        self.title, self.unit, self.total, self.done = title, unit, total, 0
        self.every = LOG_SECONDS if every is None else every
        self.begun = self.logged = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the start, never zero."""
        return max(time.monotonic() - self.begun, 1e-6)

    def add(self, units: int) -> None:
        """Count units that are done; now and then a line."""
        self.done += units
        if time.monotonic() - self.logged < self.every:
            return
        self.logged = time.monotonic()
        rate = self.done / self.seconds
        left = timedelta(seconds=round((self.total - self.done) / max(rate, 1e-6)))
        log.info(
            "%s: %d of %d %s, %.1f %s/s, %s left",
            *(self.title, self.done, self.total, self.unit, rate, self.unit, left),
        )


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items in a row, the last one shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
