"""Trained models as one file: settings, weights and the versions that made them."""

import importlib.metadata
import pickle
import platform
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from hgg.config import ModelConfig
from hgg.model import HGG

FORMAT = 1  # of the file; to be raised when older readers cannot read what is written


def save_model(path: Path, model: HGG) -> None:
    """Write a model to a file that `load_model` reads where nothing but `hgg` is installed."""
    torch.save(
        {
            "format": FORMAT,
            "config": model.config.model_dump(mode="json"),
            "model": model.state_dict(),
            "versions": {"python": platform.python_version()} | _versions(),
        },
        path,
    )


def load_model(path: Path, config: ModelConfig | None = None) -> HGG:
    """Read a model, on the CPU and in evaluation mode.

    Args:
        path: a file of `save_model`.
        config: settings to build the model by, in place of the file's own: thresholds may differ,
            widths and depths may not.

    Raises:
        ValueError: no such file, not such a file, or a model of another architecture than `config`'s.
    """
    content = _read(path)
    try:
        saved = ModelConfig.model_validate(content["config"])
    except ValidationError as error:
        raise ValueError(f"{path}: its settings are not those of this version of hgg: {error}") from error
    model = HGG(config or saved)
    check_architecture(path, model, saved, content["model"])
    model.load_state_dict(content["model"])
    return model.eval()


def check_architecture(path: Path, model: HGG, saved: ModelConfig, state: dict[str, Tensor]) -> None:
    """Raise `ValueError` where the file's weights do not fit the model: both settings and both shapes."""
    wanted_shapes, saved_shapes = _shapes(model.state_dict()), _shapes(state)
    if wanted_shapes == saved_shapes:
        return
    names = sorted(wanted_shapes.keys() | saved_shapes.keys())
    unlike = [name for name in names if wanted_shapes.get(name) != saved_shapes.get(name)]
    name = unlike[0]
    settings = _differences(saved, model.config) or ["no setting differs: the file was altered"]
    raise ValueError(
        f"{path}: a model of another architecture: {'; '.join(settings)}; for one, {name} is "
        f"{saved_shapes.get(name, 'absent')} in the file and {wanted_shapes.get(name, 'absent')} here; "
        "give the settings that the file was made with, or another file"
    )


def read_safely(path: Path) -> dict[str, Any]:
    """A file of `torch.save` that holds tensors and plain values alone, on the CPU.

    Raises:
        ValueError: no such file, not such a file, cut off, or one that would run code when it is loaded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign files torch says more than once what is wrong
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path}: not a checkpoint, cut off, or one that holds code, which is never run; "
            f"make it again ({str(error).splitlines()[0]})"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a checkpoint: it holds a {type(content).__name__}")
    return content


def _read(path: Path) -> dict[str, Any]:
    content = read_safely(path)
    missing = {"format", "config", "model"} - content.keys()
    if missing:
        raise ValueError(f"{path}: not a model of hgg: {', '.join(sorted(missing))} missing")
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path}: format {content['format']}, this version of hgg reads {FORMAT}: "
            "use the version that wrote it"
        )
    return content


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _differences(saved: ModelConfig, wanted: ModelConfig) -> list[str]:
    """Settings of network and grouping that the two do not share, with both values."""
    lines = []
    for group in ("network", "grouping"):
        ours, theirs = getattr(wanted, group).model_dump(), getattr(saved, group).model_dump()
        lines += [
            f"{group}.{key} is {theirs[key]} in the file and {value} here"
            for key, value in ours.items()
            if value != theirs[key]
        ]
    return lines


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
