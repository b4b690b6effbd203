"""What all tests share: quiet loopback Ray, one thread, and the optional real data."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before anything imports Ray or starts a process: no token, no usage report, no answer to other machines.
os.environ |= {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "MPLBACKEND": "Agg",
}

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
SHARED_CASES = REPOSITORY.parent / "shared" / "cases"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that jobs/, conf/ and the packages are in."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs with keypoints; they are not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real photographs of ../shared/data, which this copy does not have")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Annotation files as tools write them; they are not part of the repository."""
    if not SHARED_CASES.is_dir():
        pytest.skip("needs the annotation files of ../shared/cases, which this copy does not have")
    return SHARED_CASES


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes started meanwhile heed Ctrl-C, which tests that run in the background make them ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors gain nothing from threads, and one thread adds up in the same order everywhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, int], Path]]:
    """Makes a folder a disk of so many MiB of its own."""
    mounted: list[Path] = []

    def make(folder: Path, mib: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"needs to mount a small disk: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
