"""Where relative paths of settings begin; a registered model and a place in a bucket are none."""

import os
from pathlib import Path
from typing import Any, TypeVar

from hgg.settings import Settings
from pipeline.base.s3 import as_path, in_store

ROOT_VARIABLE = "HGG_ROOT"
REGISTERED = "models:/"  # how a registered model is named, where a file could be
SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # what Ray sets for the script of `ray job submit`

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes that Linux takes
ROOM = 512  # bytes of a path for what is written below it

SomeSettings = TypeVar("SomeSettings", bound=Settings)


def absolute(config: SomeSettings) -> SomeSettings:
    """The settings with every path absolute, so that processes elsewhere read the same files."""
    updates: dict[str, Any] = {}
    for name in config.__class__.model_fields:
        value = getattr(config, name)
        if isinstance(value, Path):
            updates[name] = _absolute_path(as_path(value).expanduser())
        elif isinstance(value, Settings):
            updates[name] = absolute(value)
    return config.model_copy(update=updates)


def path_problem(text: str) -> str:
    """What is wrong with the text of a path, whatever is there; nothing where nothing is."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return "holds what no path can hold"
    if text.startswith("~"):
        try:
            Path(text).expanduser()
        except RuntimeError:
            return "that user has no home folder here"
    path = root_folder() / text
    longest, whole = max(len(os.fsencode(part)) for part in (*path.parts, "")), len(os.fsencode(path))
    if longest > LONGEST_NAME:
        return f"a name in it has {longest} bytes; {LONGEST_NAME} is the most that a disk takes"
    if whole > LONGEST_PATH - ROOM:
        return f"has {whole} bytes; {LONGEST_PATH - ROOM} is the most that leaves room for files below"
    return ""


def _absolute_path(path: Path) -> Path:
    """What is in the current folder stays there; everything else that is relative is below `root_folder`."""
    if str(path).startswith(REGISTERED) or in_store(path):  # no path of this machine
        return path
    here = path.absolute()
    return here if here.exists() else (root_folder() / path).absolute()


def root_folder() -> Path:
    """Where relative paths of settings begin: $HGG_ROOT, by default the current folder.

    That of a submitted job is a copy of this repository which Ray removes, so there it is ~/hgg instead.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path.home() / "hgg" if SUBMITTED in os.environ else Path.cwd()
