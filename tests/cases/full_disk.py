"""Filling a small disk, see the fixture `small_disk`."""

from pathlib import Path

MIB = 1 << 20


def fill(folder: Path) -> Path:
    """Write a file that leaves no room; returns it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MIB))
        except OSError:
            return filler
