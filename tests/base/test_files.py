"""Whole or absent: what stands at a path never depends on where a writer was stopped."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.files import atomic_path, sha256_file, write_json, write_text
from pipeline.base.provenance import REPOSITORY


def test_a_finished_block_puts_the_file_in_place_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "part.parquet"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".parquet"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    code = (
        "import os, signal, sys; from pathlib import Path; from pipeline.base.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(path)], cwd=REPOSITORY, timeout=60)
    assert finished.returncode == -signal.SIGKILL
    assert path.read_text() == "before"
    write_text(path, "after")
    assert path.read_text() == "after"


def test_json_comes_back_and_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"ap": 0.5, "name": "Ähre", "none": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ap": 0.5, "name": "Ähre", "none": None}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"ap": math.nan})
    assert json.loads(path.read_text(encoding="utf-8"))["ap"] == 0.5


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"a" * 1_000_000)
    # Appendix B.3: a million times "a".
    assert sha256_file(path) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
