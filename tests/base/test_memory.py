"""A process that keeps what tensors leave asks the system for no page twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.memory import ask_for_large_pages

# glibc raises its threshold as it goes, and what lies above on the heap decides the rest, so the
# program sets it to what it begins with.
PROGRAM = """
import ctypes, json, resource
import torch
from pipeline.base.memory import M_MMAP_THRESHOLD, keep_freed_memory

torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        held = [torch.ones(1 << 20) for _ in range(4)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 << 10)
given_back = faults()
keep_freed_memory()
faults()
print(json.dumps([given_back, faults()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_is_kept(repository: Path) -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    given_back, kept = json.loads(done.stdout)
    assert given_back > 5_000
    assert kept < 100


def test_large_pages_are_asked_for_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "THP_MEM_ALLOC_ENABLE"
    monkeypatch.setenv(name, "0")
    ask_for_large_pages()
    assert os.environ[name] == "0"
    monkeypatch.delenv(name)
    ask_for_large_pages()
    assert os.environ[name] == "1"
