"""From the files that rank 0 writes to the driver's terminal and to MLflow, while training goes on."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.base.secrets import masked
from pipeline.tracking.run import Tracked
from pipeline.training.history import read_history

POLL_SECONDS = 1.0
NOT_METRICS = {"step", "seconds_left"}

log = logging.getLogger(__name__)


class Relay:
    """Reads what was added to a stage's train.log and metrics.csv since it last looked.

    Args:
        folder: of the stage.
        tracked: gets each row of metrics.csv once, also where a restarted run repeats steps.
        show: whether log lines are shown; not where the training process shows them itself.
    """

    def __init__(self, folder: Path, tracked: Tracked, show: bool) -> None:
        self.lines = folder / "train.log"
        self.history = folder / "metrics.csv"
        self.tracked = tracked
        self.show = show
        self.shown = self.lines.stat().st_size if self.lines.exists() else 0
        self.seen: tuple[int, int] | None = None
        self.logged = tracked.last_step("loss")

    def poll(self) -> None:
        """Show new lines, log new rows."""
        if self.show and self.lines.exists():
            self._show()
        if self.history.exists():
            stat = self.history.stat()
            changed = (stat.st_mtime_ns, stat.st_size)
            if changed != self.seen:
                self._log_rows()
                self.seen = changed

    def _show(self) -> None:
        if self.lines.stat().st_size <= self.shown:
            return
        with self.lines.open("rb") as file:
            file.seek(self.shown)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.shown += len(whole)
        sys.stderr.write(whole.decode("utf-8", "replace"))
        sys.stderr.flush()

    def _log_rows(self) -> None:
        for row in read_history(self.history):
            step = int(row["step"] or 0)
            if step > self.logged:
                self.tracked.metrics({k: v for k, v in row.items() if k not in NOT_METRICS}, step)
                self.logged = step


@contextmanager
def relaying(folder: Path, tracked: Tracked, show: bool) -> Iterator[None]:
    """Relay a stage in a thread for the length of a `with` block, and to the last row after it."""
    relay = Relay(folder, tracked, show)
    over = threading.Event()
    thread = threading.Thread(target=_keep_relaying, args=(relay, over), name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep_relaying(relay: Relay, over: threading.Event) -> None:
    """Poll until it is over and once more; a store that fails is tried again and never ends training."""
    failing = False
    while True:
        last = over.wait(POLL_SECONDS)
        try:
            relay.poll()
            failing = False
        except Exception as error:  # whatever a store or its network comes up with
            if not failing or last:
                log.warning("metrics do not reach MLflow: %s", masked(str(error)))
            failing = True
        if last:
            return
