"""results.json of a stage, and where a result comes from: command line, commit, versions."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base.files import write_json
from pipeline.base.secrets import masked_command, masked_values

REPOSITORY = Path(__file__).resolve().parent.parent.parent
VERSIONS_OF = ("torch", "ray", "mlflow")
GIT_SECONDS = 20


Origin = Mapping[str, str]
"""Where a result comes from, as `provenance` says it; plain enough to be handed to a task."""


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Write `results.json` of a stage into `folder`, without the passwords of addresses."""
    write_json(folder / "results.json", masked_values(results))


def provenance() -> dict[str, str]:
    """Where a result comes from: command line, commit and versions, without importing what it names."""
    versions = {"python": platform.python_version()} | {name: _version(name) for name in VERSIONS_OF}
    return {"command": command_line(), "commit": _commit()} | versions


def command_line() -> str:
    """How this process was called, as one would type it: `hgg NAME ...` or `python FILE ...`, masked."""
    first, *arguments = sys.argv
    called = first.split() if first.startswith("hgg ") else ["python", first]
    return masked_command([*called, *arguments])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _commit() -> str:
    """The commit of this code, with `+changes` where tracked files differ from it, or `unknown`.

    A submitted job runs in a copy without history; whoever sent it may name the commit in HGG_COMMIT.
    """
    if not (REPOSITORY / ".git").exists():
        return os.environ.get("HGG_COMMIT", "unknown")
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def _git(*arguments: str) -> str:
    finished = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=GIT_SECONDS,
    )
    return finished.stdout.strip()
