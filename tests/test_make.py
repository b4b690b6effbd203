"""The two commands' first step: which Python an environment is made of."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def test_a_python_that_is_none_is_named(repository: Path) -> None:
    command = ["make", "--no-print-directory", "setup", "PYTHON=python2.0"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    wanted = "error: Python 3.11, 3.12 or 3.13 is needed: none of these is it: python2.0"
    assert done.stderr.splitlines()[0] == wanted
    assert not (repository / ".venv-python2.0").exists()


def test_each_python_has_an_environment_of_its_own(repository: Path) -> None:
    command = ["make", "--no-print-directory", "-n", "lint", "PYTHON=/opt/bin/python3.13"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60)
    assert ".venv-python3.13/bin/python -m ruff check ." in done.stdout.splitlines()
