"""Trained models as one file: settings, weights and the versions that made them."""

import importlib.metadata
import pickle
import platform
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from hgg.config import ModelConfig
from hgg.model import HGG

GROUPING = "grouping."  # how the names of these weights begin
FORMAT = 1  # of the file; to be raised when older readers cannot read what is written


def save_model(path: Path, model: HGG, *, half: bool = False) -> None:
    """Write a model to a file that `load_model` reads where nothing but `hgg` is installed.

    A model whose `grouping.decoder` is AE's is written without the weights of grouping.

    Args:
        path: is overwritten.
        model: is left as it is.
        half: store weights in half precision (float16), in half the space; they are read as float32 again.

    Raises:
        ValueError: a weight that half precision cannot hold.
    """
    state = model.state_dict()
    if model.config.grouping.decoder == "associative":
        state = {name: value for name, value in state.items() if not name.startswith(GROUPING)}
    content = {
        "format": FORMAT,
        "config": model.config.model_dump(mode="json"),
        "model": _halved(state) if half else state,
        "versions": {"python": platform.python_version()} | _versions(),
    }
    # Given a path, torch writes the file's name into it, and no two files would be the same.
    with path.open("wb") as file:
        torch.save(content, file)


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
    state = content["model"]
    if model.config.grouping.decoder == "associative":  # its weights of grouping are not used
        state = {name: v for name, v in model.state_dict().items() if name.startswith(GROUPING)} | state
    check_architecture(path, model, model.config, state, saved)
    model.load_state_dict(state)
    return model.eval()


def load_network(path: Path, model: HGG) -> None:
    """Give `model` the proposal network of a saved model; its grouping stays as it is.

    Raises:
        ValueError: no such file, not such a file, or a network of another architecture.
    """
    saved = load_model(path)
    state = saved.network.state_dict()
    check_architecture(path, model.network, model.config, state, saved.config, ("network",))
    model.network.load_state_dict(state)


def check_architecture(
    path: Path,
    module: nn.Module,
    wanted: ModelConfig,
    state: dict[str, Tensor],
    saved: ModelConfig,
    groups: tuple[str, ...] = ("network", "grouping"),
) -> None:
    """Raise `ValueError` where a file's weights do not fit a module: both settings and both shapes.

    Args:
        path: the file.
        module: what the weights are for; `wanted` are its settings.
        state: the file's weights; `saved` are the settings that they were made with.
        groups: groups of settings to compare for the message.
    """
    wanted_shapes, saved_shapes = _shapes(module.state_dict()), _shapes(state)
    if wanted_shapes == saved_shapes:
        return
    names = sorted(wanted_shapes.keys() | saved_shapes.keys())
    name = next(name for name in names if wanted_shapes.get(name) != saved_shapes.get(name))
    settings = _differences(wanted, saved, groups) or ["no setting differs: the file was altered"]
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
            with path.open("rb") as file:  # by the path itself, which may be one of a store
                content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]  # of an empty file torch says nothing
        raise ValueError(
            f"{path}: not a checkpoint, cut off, or one that holds code, which is never run; "
            f"make it again ({why})"
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


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16; whole numbers stay."""
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    for name, value in halved.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{name}: holds values above 65504, which half precision cannot: store it whole")
    return halved


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _differences(wanted: ModelConfig, saved: ModelConfig, groups: tuple[str, ...]) -> list[str]:
    """Settings that the two do not share, with both values."""
    lines = []
    if wanted.skeleton != saved.skeleton:
        lines = [f"skeleton is {saved.skeleton} in the file and {wanted.skeleton} here"]
    for group in groups:
        ours, theirs = getattr(wanted, group).model_dump(), getattr(saved, group).model_dump()
        lines += [
            f"{group}.{key} is {theirs[key]} in the file and {value} here"
            for key, value in ours.items()
            if value != theirs[key]
        ]
    return lines


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
