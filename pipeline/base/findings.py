"""One line of a check: how grave, what was found, and what to do; what several checks need."""

from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.base.s3 import in_store

Level = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One line: how grave, what was looked at, what was found and what to do."""

    level: Level
    check: str
    text: str


def existing_parent(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists; in a store all are there."""
    if in_store(path):
        return path
    return next(folder for folder in (path, *path.parents) if folder.exists())


def write_probe(folder: Path, name: str) -> Path:
    """A small file in `folder`, which whoever calls this removes."""
    path = folder / f".doctor-{name}"
    path.write_text(name, encoding="utf-8")
    return path
