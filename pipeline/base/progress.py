"""How far some work has come: a bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

LOG_SECONDS = 10.0  # between two lines, where the work comes in small parts

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Progress:
    """The rate and the time left, as parts of the work are done: on a terminal as a bar, else as log lines.

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
        self.bar = _bar(title, total, unit) if sys.stderr.isatty() else None

    @property
    def seconds(self) -> float:
        """Time since the start, never zero."""
        return max(time.monotonic() - self.begun, 1e-6)

    def add(self, units: int) -> None:
        """Count units that are done; now and then a line."""
        self.done += units
        if self.bar is not None:
            self.bar.update(units)
            if self.done >= self.total > 0:
                self.bar.close()
            return
        if time.monotonic() - self.logged < self.every:
            return
        self.logged = time.monotonic()
        rate = self.done / self.seconds
        left = timedelta(seconds=round((self.total - self.done) / max(rate, 1e-6)))
        log.info(
            "%s: %d of %d %s, %.1f %s/s, %s left",
            *(self.title, self.done, self.total, self.unit, rate, self.unit, left),
        )


class TerminalHandler(logging.Handler):
    """Log lines to stderr that leave a bar whole, which goes on below them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _bar(title: str, total: int, unit: str) -> Any:
    from tqdm import tqdm  # here, as only a terminal needs it

    look = {"unit": f" {unit}", "dynamic_ncols": True, "leave": False}
    return tqdm(total=total or None, desc=title, file=sys.stderr, **look)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items in a row, the last one shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
