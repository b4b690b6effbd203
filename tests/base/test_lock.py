"""One job at a time in a folder: who holds it, what is stale, here, on shared storage and in a bucket."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.base import lock as locks
from pipeline.base.errors import UserError
from pipeline.base.files import write_text
from pipeline.base.lock import LOCK, held
from pipeline.base.s3 import file_system, in_store, stored
from tests.cases.s3_server import BUCKET, s3_server

SECONDS = 60
HOLD = """
import sys, time
from pathlib import Path
from pipeline.base.lock import held
from pipeline.base.s3 import stored
folder = stored(sys.argv[1]) if sys.argv[1].startswith("s3:") else Path(sys.argv[1])
with held(folder, "jobs/pretrain.py"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An S3 server, in the environment of this process."""
    with s3_server(tmp_path_factory.mktemp("s3")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        file_system.cache_clear()
        yield
    file_system.cache_clear()


@pytest.fixture(params=["here", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of this machine and one of a bucket, in turn."""
    if request.param == "here":
        return tmp_path / "stage"
    request.getfixturevalue("server")
    return stored(f"s3://{BUCKET}/{tmp_path.name}")


@contextmanager
def _holder(folder: Path, repository: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds a folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _rewrite(lock: Path, **values: object) -> None:
    """The lock as another process would have written it."""
    lock.write_text(json.dumps(json.loads(lock.read_text()) | values))


def _leave(folder: Path, **values: object) -> None:
    """A lock of this very process, left behind, with other values."""
    own = locks._this_process(folder, "jobs/tune.py")
    write_text(folder / LOCK, json.dumps(own._asdict() | values))


def test_the_second_is_told_who_holds_the_folder_and_a_kill_gives_it_free(
    root: Path, repository: Path
) -> None:
    with _holder(root, repository) as process:
        with pytest.raises(UserError) as caught, held(root, "jobs/pretrain.py"):
            pass
        said = str(caught.value)
        who = f"jobs/pretrain.py is at work there, process {process.pid} on {locks.socket.gethostname()}"
        assert said.startswith(f"{root}: {who} since 20")
        assert "wait until it has ended, or end it" in said
        assert "\n" not in said
        process.kill()  # not waited for: what remains of it is a zombie
        while locks.psutil.Process(process.pid).status() != locks.psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        begun = time.monotonic()
        with held(root, "jobs/pretrain.py"):
            assert json.loads((root / LOCK).read_text())["pid"] == os.getpid()
        assert time.monotonic() - begun < locks.SETTLE_SECONDS + 2
    assert not (root / LOCK).exists()


def test_it_is_given_free_at_the_end_and_on_errors_and_leaves_nothing(root: Path) -> None:
    with pytest.raises(RuntimeError), held(root / "a" / "b", "jobs/evaluate.py"):
        raise RuntimeError
    assert [*root.rglob("*")] == []
    assert in_store(root) or not root.exists()
    with held(root, "jobs/evaluate.py"):
        write_text(root / "results.json", "{}")
    assert [path.name for path in root.rglob("*")] == ["results.json"]


def test_a_number_that_is_another_process_by_now_holds_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _leave(tmp_path, started=locks._started(locks.psutil.Process()) - 100)
    with caplog.at_level(logging.INFO), held(tmp_path, "jobs/tune.py"):
        pass
    assert "ended without giving it free; it is taken over" in caplog.text
    _leave(tmp_path)  # but this very process does
    with pytest.raises(UserError, match=r"jobs/tune\.py is at work"), held(tmp_path, "jobs/tune.py"):
        pass


@pytest.mark.parametrize("elsewhere", [{"host": "node7"}, {"place": "another boot, or container"}])
def test_another_machines_lock_is_stale_once_it_is_not_renewed(
    root: Path, elsewhere: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave(root, pid=1 << 30, **elsewhere)
    with pytest.raises(UserError, match=f"process {1 << 30} on "), held(root, "jobs/tune.py"):
        pass
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.25)
    monkeypatch.setattr(locks, "MISSED", 4)
    time.sleep(2.1)  # a bucket knows whole seconds only
    with held(root, "jobs/tune.py"):
        pass
    assert [*root.rglob("*")] == []


def test_the_holder_renews_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.2)
    with held(root, "jobs/tune.py"):
        first, deadline = (root / LOCK).stat().st_mtime_ns, time.monotonic() + SECONDS
        while (root / LOCK).stat().st_mtime_ns == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (root / LOCK).unlink()  # by hand
        while not (root / LOCK).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_who_slept_too_long_and_was_taken_over_stops(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.2)
    with (
        pytest.raises(UserError, match="another job has taken it over"),
        held(root, "jobs/pretrain.py"),
    ):
        _rewrite(root / LOCK, token="another", host="node7")
        time.sleep(SECONDS)
    assert json.loads((root / LOCK).read_text())["token"] == "another"


def test_a_lock_that_is_not_whole_is_somebodys_who_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK).write_text('{"token": "ab')
    with pytest.raises(UserError, match="a job is at work there"), held(tmp_path, "jobs/tune.py"):
        pass
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    time.sleep(0.2)
    with held(tmp_path, "jobs/tune.py"):
        pass


def test_a_lock_that_came_with_a_copy_holds_nothing(tmp_path: Path) -> None:
    with held(tmp_path / "original", "jobs/tune.py"):
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / LOCK).write_bytes((tmp_path / "original" / LOCK).read_bytes())
        with held(tmp_path / "copy", "jobs/tune.py"):
            pass
        (tmp_path / "other name").symlink_to(tmp_path / "original")
        with pytest.raises(UserError, match="at work"), held(tmp_path / "other name", "jobs/tune.py"):
            pass


@pytest.mark.parametrize("stale", [True, False])
def test_of_many_at_once_one_gets_it(root: Path, stale: bool) -> None:
    if stale:
        _leave(root, pid=1 << 30)
    root.mkdir(parents=True, exist_ok=True)
    assert _takers(root) == 1


def test_a_stale_lock_is_taken_over_once_whoever_was_killed_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places between any two steps
    try:
        for turn in range(40):
            folder = tmp_path / str(turn)
            _leave(folder, pid=1 << 30)
            if turn % 2:  # one that was taking it over is gone as well
                with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                    patch.setattr(locks, "write_text", _interrupted)
                    patch.setattr(locks, "_release", lambda *_: None)
                    locks._take(folder / LOCK, locks._this_process(folder, "a")._replace(pid=1 << 30))
                assert len([*folder.iterdir()]) == 2
            assert _takers(folder) == 1
            assert [path.name for path in folder.iterdir()] == [LOCK]
    finally:
        sys.setswitchinterval(interval)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _takers(folder: Path, jobs: int = 6) -> int:
    """How many of so many threads that take a folder at once get it."""

    def take(_: int) -> bool:
        try:
            locks._take(folder / LOCK, locks._this_process(folder, "jobs/tune.py"))
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(jobs) as pool:
        return sum(pool.map(take, range(jobs)))


def test_what_a_kill_left_is_removed_and_nothing_of_the_users(tmp_path: Path) -> None:
    ours = ["stage/.0123456789ab.best.pt", "stage/checkpoints/a/.fedcba987654.step_00000004.pt"]
    theirs = ["stage/.hidden", "stage/.0123456789.best.pt", "stage/best.0123456789ab.pt", "stage/.notes.pt"]
    elsewhere = ["other/.0123456789ab.best.pt", ".0123456789ab.best.pt"]
    for name in (*ours, *theirs, *elsewhere):
        write_text(tmp_path / name, "")
    (tmp_path / "stage" / ".0123456789ab.folder").mkdir()
    (tmp_path / "stage" / "link").symlink_to(tmp_path / "other")
    with held(tmp_path / "stage", "jobs/pretrain.py"):
        assert not any((tmp_path / name).exists() for name in ours)
    assert all((tmp_path / name).exists() for name in (*theirs, *elsewhere))
    assert (tmp_path / "stage" / ".0123456789ab.folder").is_dir()
    assert not re.search("lock", str([*tmp_path.rglob("*")]))
