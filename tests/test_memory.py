"""A process that keeps what tensors leave asks the system for no page twice."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
import torch
from pipeline.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.set_num_threads(1)
def step():
    for _ in range(20):
        held = [torch.ones(1 << 20) for _ in range(8)]
        del held
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(repository: Path, mode: str) -> int:
    command = [sys.executable, "-c", PROGRAM, mode]
    return int(subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_is_kept(repository: Path) -> None:
    assert _faults(repository, "keep") < 100
    assert _faults(repository, "leave") > 5_000
