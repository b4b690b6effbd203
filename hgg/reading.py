"""A file of weights, read so that nothing in it is believed before it was looked at."""

import hashlib
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from hgg.archive import BROKEN, TensorSpec, check_bytes, contents
from hgg.config import ModelConfig
from hgg.skeleton_file import MOST_LINKS

SHOWN = 80  # characters of a foreign value that a message quotes
MOST_SETTINGS = 100  # in a group of a file's settings


def listed_in(path: Path) -> dict[str, Any]:
    """What a file holds, with shapes in place of tensors, before memory is taken for them."""
    with _named(path):
        found = contents(path)
    if not isinstance(found, dict):
        kind = "Tensor" if isinstance(found, TensorSpec) else type(found).__name__
        raise ValueError(f"{path}: not a checkpoint: it holds a {kind}")
    return found


def read_safely(path: Path) -> dict[str, Any]:
    """A file of `torch.save` that holds tensors and plain values alone, on the CPU.

    Raises:
        ValueError: no such file, not such a file, cut off, altered, or one that would run code when it is
            loaded. It took no more memory than the file has bytes, and some for its table of contents.
    """
    listed_in(path)
    with _named(path):
        check_bytes(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign files torch says more than once what is wrong
            with path.open("rb") as file:  # by the path itself, which may be one of a store
                content = torch.load(file, map_location="cpu", weights_only=True)
    return content


def saved_settings(path: Path, values: object) -> ModelConfig:
    """The settings in a file.

    Raises:
        ValueError: they are none, or not within this version's bounds; the first that is wrong is named.
    """
    try:
        if not _plain(values):
            raise ValueError(f"{path}: its settings are no table of plain values: the file was altered")
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(shown(part) for part in first["loc"])
        raise ValueError(
            f"{path}: its settings are not those of this version of hgg: {key}="
            f"{shown(first['input'])}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def in_settings(path: Path) -> ModelConfig:
    """The settings that a file of `hgg.weights.save_model` says it was saved with; `ValueError` as above."""
    listed = listed_in(path)
    if "config" not in listed:
        raise ValueError(f"{path}: not a model of hgg: config missing")
    return saved_settings(path, listed["config"])


def check_state(path: Path, state: object) -> None:
    """Raise `ValueError` where what a file has for weights is no table of tensors by their names."""
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor | TensorSpec) for name, value in state.items()
    ):
        raise ValueError(f"{path}: its weights are no table of tensors: the file was altered")


def check_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` where a weight of a file is no number: what is computed with it would be none."""
    for name, value in state.items():
        if not finite(value):
            raise ValueError(f"{path}: {name} holds values that are not finite: take another file")


def finite(value: Tensor) -> bool:
    """Whether all numbers of a tensor are finite.

    One that is not a number is its least and its highest; asking each takes three times as long.
    """
    return not value.numel() or bool(torch.stack(value.aminmax()).isfinite().all())


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights, 64 hexadecimal digits: name, kind, shape and numbers of each, ordered by name."""
    whole = hashlib.sha256()
    for name, value in sorted(state.items()):
        whole.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        whole.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def shown(value: object) -> str:
    """A value of a file as a message quotes it: in one line, and not all of a long one."""
    text = str(value).encode("unicode_escape").decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@contextmanager
def _named(path: Path) -> Generator[None, None, None]:
    """Whatever reading a file may raise becomes one line that names it."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except BROKEN as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]  # of an empty file torch says nothing
        raise ValueError(
            f"{path}: not a checkpoint, cut off, altered, or one that holds code, which is never run; "
            f"make it again ({why})"
        ) from error


def _plain(values: object, depth: int = 3, lists: int = 2) -> bool:
    """Whether settings are what they look like: few, in groups, and nothing in them that grows when shown.

    A skeleton is a table of lists of names and of pairs of names.
    """
    if isinstance(values, dict):
        few = depth > 0 and len(values) <= MOST_SETTINGS
        return few and all(_plain(value, depth - 1, lists) for value in values.values())
    if isinstance(values, list | tuple):
        few = lists > 0 and len(values) <= MOST_LINKS
        return few and all(_plain(value, 0, lists - 1) for value in values)
    return values is None or isinstance(values, str | int | float)
