"""One job at a time in a folder: a lock that says who holds it, and that no kill leaves behind for good.

The lock is a file in the folder. It counts as stale where its process is gone, which is seen at once on the
machine that the process ran on. Everywhere else it is stale once it has not been renewed for
`HEARTBEAT_SECONDS * MISSED`; its age is measured by the clock of the storage itself, as clocks of machines
differ. Nothing here needs more of a file system than that one of two processes creates a file, so shared
storage will do. S3 cannot promise even that to us: there a lock is written, and read again after
`SETTLE_SECONDS`; what a slower writer overwrites then is noticed when it is renewed.
"""

import hashlib
import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline.base.errors import UserError
from pipeline.base.files import remove_leftovers, temporary_name, write_text
from pipeline.base.s3 import in_store

LOCK = ".lock"
HEARTBEAT_SECONDS = 15.0
MISSED = 8
SETTLE_SECONDS = 2.0
TRIES = 5
# Two readings of one process's start differ by rounding; a number is not given again that soon.
SAME_START_SECONDS = 1.0

log = logging.getLogger(__name__)


class Holder(NamedTuple):
    """Who holds a lock, as its file says."""

    token: str
    """Unlike that of any other lock."""
    what: str
    """The job."""
    folder: str
    """As the holder sees it."""
    host: str
    place: str
    """Where `pid` and `started` mean the same: a machine since its start, a space of process numbers."""
    pid: int
    started: float
    """When the process began, in seconds since its machine did."""
    since: str
    """When it took the lock, in UTC."""


@contextmanager
def held(folder: Path, what: str, *others: Path) -> Iterator[None]:
    """Hold a folder for the length of a `with` block; it is made where it is missing.

    Temporary files that a killed job left in it are removed. Where another job takes the lock for stale and
    the folder for its own, as this process was suspended for long, this one is stopped.

    Args:
        folder: that one job at a time writes to.
        what: the job, for the message that another one gets.
        others: folders that only a job that holds `folder` writes to.

    Raises:
        UserError: another job holds it, or has taken it over.
    """
    lock, own = folder / LOCK, _this_process(folder, what)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _take(lock, own)
    over, lost = threading.Event(), threading.Event()
    renewing = threading.Thread(target=_keep_renewing, args=(lock, own, over, lost), name="lock", daemon=True)
    renewing.start()
    try:
        for each in (folder, *others):
            remove_leftovers(each)
        yield
    except KeyboardInterrupt:
        if lost.is_set():
            raise UserError(
                f"{folder}: another job has taken it over, as this process had not renewed its lock for "
                f"{HEARTBEAT_SECONDS * MISSED:g} s: this one stops"
            ) from None
        raise
    finally:
        over.set()
        renewing.join()
        _release(lock, own)
        with suppress(OSError):  # where nothing but the lock came into them
            for each in made:
                each.rmdir()


def _this_process(folder: Path, what: str) -> Holder:
    return Holder(
        token=uuid.uuid4().hex,
        what=what,
        folder=str(folder.absolute()),
        host=socket.gethostname(),
        place=_place(),
        pid=os.getpid(),
        started=_started(psutil.Process()),
        since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    )


def _take(lock: Path, own: Holder) -> None:
    """Write the lock, in place of a stale one where there is one."""
    for _ in range(TRIES):
        if _create(lock, own):
            return
        other = _read(lock)
        if other is None:  # released in between
            continue
        if not _stale(lock, other):
            raise UserError(
                f"{lock.parent}: {other.what} is at work there, process {other.pid} on {other.host} since "
                f"{other.since}: wait until it has ended, or end it (a process that is killed holds it no "
                f"longer; one of another machine for {HEARTBEAT_SECONDS * MISSED:g} s more)"
            )
        if _take_over(lock, other, own):
            left = f"{other.what}, process {other.pid} on {other.host},"
            log.info("%s: %s ended without giving it free; it is taken over", lock.parent, left)
            return
    raise UserError(f"{lock.parent}: several jobs begin there at this moment: start one of them again")


def _create(lock: Path, own: Holder) -> bool:
    """Write the lock where there is none; whether it is this process's now."""
    if in_store(lock):
        if lock.exists():
            return False
        lock.write_text(_text(own), encoding="utf-8")
        time.sleep(SETTLE_SECONDS)
        there = _read(lock)
        return there is not None and there.token == own.token
    try:
        with lock.open("x", encoding="utf-8") as file:
            file.write(_text(own))
    except FileExistsError:
        return False
    return True


def _read(lock: Path) -> Holder | None:
    """Who holds a lock, None where nobody does."""
    try:
        text = lock.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):  # not written to its end yet, or by another version
        return Holder(text, "a job", str(lock.parent), "a machine unknown", "", 0, 0.0, "just now")


def _text(holder: Holder) -> str:
    return json.dumps(holder._asdict())


def _stale(lock: Path, holder: Holder) -> bool:
    """Whether the holder is gone."""
    if (holder.host, holder.place) == (socket.gethostname(), _place()):
        return _copied(lock, holder) or not _alive(holder)
    return _age(lock) > HEARTBEAT_SECONDS * MISSED


def _alive(holder: Holder) -> bool:
    """Whether the process lives; its number may be another one's by now."""
    try:
        process = psutil.Process(holder.pid)
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not ended and abs(_started(process) - holder.started) < SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def _copied(lock: Path, holder: Holder) -> bool:
    """Whether the lock came here with a copy of the folder that its holder works in."""
    if in_store(lock):
        return holder.folder != str(lock.parent)
    original = Path(holder.folder)
    return original.exists() and not original.samefile(lock.parent)


def _age(lock: Path) -> float:
    """Seconds since a lock was last renewed, by the clock of the storage."""
    probe = lock.with_name(temporary_name(LOCK))
    probe.write_text("", encoding="utf-8")
    try:
        return probe.stat().st_mtime - lock.stat().st_mtime
    except FileNotFoundError:  # released in between
        return 0.0
    finally:
        probe.unlink()


def _take_over(lock: Path, stale: Holder, own: Holder) -> bool:
    """Put the own lock into the place of a stale one; whether that was still there.

    Of several that find the same stale lock, one at a time may look again and replace it: who holds a lock
    beside it, named from the stale one. The place is never empty meanwhile, so that nobody else creates one.
    """
    claim = lock.with_name(
        f".{hashlib.sha256(stale.token.encode()).hexdigest()[:12]}.{LOCK.removeprefix('.')}"
    )
    _take(claim, own)
    try:
        there = _read(lock)
        if there is None or there.token != stale.token:
            return False
        write_text(lock, _text(own))
        return True
    finally:
        _release(claim, own)


def _keep_renewing(lock: Path, own: Holder, over: threading.Event, lost: threading.Event) -> None:
    """Renew the lock until it is over; stop the main thread once the lock is another job's."""
    failing = False
    while not over.wait(HEARTBEAT_SECONDS):
        try:
            if not _renew(lock, own):
                lost.set()
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return
            failing = False
        except OSError as error:
            if not failing:
                log.warning("%s: not renewed: %s", lock, error)
            failing = True


def _renew(lock: Path, own: Holder) -> bool:
    """Set the lock's time anew; whether it is still this process's."""
    there = _read(lock)
    if there is None:
        return _create(lock, own)
    if there.token != own.token:
        return False
    if in_store(lock):
        lock.write_text(_text(own), encoding="utf-8")
    else:
        os.utime(lock)
    return True


def _release(lock: Path, own: Holder) -> None:
    """Remove the lock where it is still this process's."""
    try:
        there = _read(lock)
        if there is not None and there.token == own.token:
            lock.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: not removed: %s", lock, error)


def _place() -> str:
    """What a process number means something to: this machine since its start, and a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux, no containers
        return ""


def _started(process: psutil.Process) -> float:
    """Seconds from the machine's start to the process's, which no change of the clock alters."""
    return process.create_time() - psutil.boot_time()
