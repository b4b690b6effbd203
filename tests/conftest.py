"""What all tests share: quiet loopback Ray, one thread, and the optional real data."""

import os
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


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors gain nothing from threads, and one thread adds up in the same order everywhere."""
    import torch

    torch.set_num_threads(1)
