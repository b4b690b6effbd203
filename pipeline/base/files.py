"""Files that are either whole or absent, whatever kills the process that writes them."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.s3 import in_store

READ_BYTES = 1 << 20
LEAST_FREE_BYTES = 1 << 16  # less than that is a full disk
TEMPORARY = re.compile(r"\.[0-9a-f]{12}\..+")  # the names that `temporary_name` gives

log = logging.getLogger(__name__)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; when the block ends well, it becomes `path`.

    The folder is made when it is missing. The temporary name begins with a dot and ends as `path` does,
    so that writers which look at the suffix keep working and a listing by suffix must skip dotted names. It
    is always a file of this machine; for a path in a store it is uploaded when the block has ended.
    When the block raises, the temporary file is removed and what stood at `path` stays. Where the disk is
    full it raises an `OSError` that names `path` instead, as not every library says so.
    """
    if in_store(path):
        with _uploaded(path) as temporary:
            yield temporary
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except Exception as error:
        if shutil.disk_usage(path.parent).free < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)


def temporary_name(name: str) -> str:
    """A name that begins with a dot, is like no other, and ends as `name` does."""
    return f".{uuid.uuid4().hex[:12]}.{name.removeprefix('.')}"


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files in a folder and below, which a process that was killed left there.

    Only for who holds the folder (`pipeline.base.lock`): those of a process at work look the same. In a store
    there are none.
    """
    if in_store(folder):
        return
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in names if TEMPORARY.fullmatch(name)):
            if path.is_file() and not path.is_symlink():
                log.info("%s: removed, as it was left by a process that was killed", path)
                path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all.

    Raises `ValueError` where a number is not finite, which JSON cannot hold.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _uploaded(path: Path) -> Iterator[Path]:
    """A file of this machine that is uploaded once it is whole; one that is cut off leaves nothing there."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, READ_BYTES)


def _flush(path: Path) -> None:
    """Wait until the disk holds a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
