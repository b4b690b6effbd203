"""Trained models as one file: settings, weights and the versions that made them."""

import importlib.metadata
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hgg.archive import TensorSpec
from hgg.config import HOURGLASS, TIMM, ModelConfig, NetworkConfig
from hgg.efficientnet import NAME as LITE0
from hgg.model import HGG, proposal_network
from hgg.reading import (
    check_state,
    check_weights,
    digest,
    finite,
    listed_in,
    read_safely,
    saved_settings,
    shown,
)

GROUPING = "grouping."  # how the names of these weights begin
FORMAT = 1  # of the file; to be raised when older readers cannot read what is written

log = logging.getLogger(__name__)


def save_model(path: Path, model: HGG, *, half: bool = False) -> None:
    """Write a model to a file that `load_model` reads where nothing but `hgg` is installed.

    A model whose `grouping.decoder` is AE's is written without the weights of grouping.

    Args:
        path: is overwritten.
        model: is left as it is.
        half: store weights in half precision (float16) where that can hold them, in half the space; they are
            read as float32 again.
    """
    state = model.state_dict()
    if model.config.grouping.decoder == "associative":
        state = {name: value for name, value in state.items() if not name.startswith(GROUPING)}
    state = halved(state) if half else state
    content = {
        "format": FORMAT,
        "config": model.config.model_dump(mode="json"),
        "model": state,
        "sha256": digest(state),
        "versions": {"python": platform.python_version()} | _versions(model.config.network),
    }
    # Given a path, torch writes the file's name into it, and no two files would be the same.
    with path.open("wb") as file:
        torch.save(content, file)


def load_model(path: Path, config: ModelConfig | None = None) -> HGG:
    """Read a model, on the CPU and in evaluation mode.

    Settings and shapes are compared before memory is taken for either, then the weights with their checksum.
    A file of an earlier version has none; the log says so.

    Args:
        path: a file of `save_model`.
        config: settings to build the model by, in place of the file's own: thresholds may differ,
            widths and depths may not.

    Raises:
        ValueError: no such file, not such a file, one whose weights are not finite or not those of its
            checksum, or a model of another architecture or of other joints than `config`'s.
    """
    listed = listed_in(path)
    _check_model(path, listed)
    check_state(path, listed["model"])
    saved = saved_settings(path, listed["config"])
    if config is not None and config.joints.names != saved.joints.names:
        raise ValueError(
            f"{path}: a model of other joints: {_joints(saved)} in the file, {_joints(config)} here; give "
            "the skeleton that the file was made with, or another file"
        )
    shapes = _shapes_only(path, config or saved)
    check_architecture(path, shapes, shapes.config, _whole(listed["model"], shapes), saved)
    content = read_safely(path)
    _check_digest(path, content)
    model = HGG(shapes.config)
    model.load_state_dict(_whole(content["model"], model))
    check_weights(path, model.state_dict())
    return model.eval()


def _shapes_only(path: Path, config: ModelConfig) -> HGG:
    """A model without memory; `ValueError` names the file where its network needs what is not here."""
    try:
        with torch.device("meta"):
            return HGG(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _whole(state: dict[str, Any], model: HGG) -> dict[str, Any]:
    """The weights, with the model's own of grouping where tags alone group and a file needs none."""
    if model.config.grouping.decoder != "associative":
        return state
    return {name: own for name, own in model.state_dict().items() if name.startswith(GROUPING)} | state


def _check_digest(path: Path, content: dict[str, Any]) -> None:
    """Raise `ValueError` where weights are not those that a file was written with."""
    if "sha256" not in content:
        log.info("%s: made by a version that kept no checksum of its weights: they are not compared", path)
    elif content["sha256"] != digest(content["model"]):
        raise ValueError(
            f"{path}: its weights are not those of its checksum: the file was altered; make it again"
        )


def load_network(path: Path, model: HGG) -> list[str]:
    """Give `model` the proposal network of a saved model; its grouping stays as it is.

    Of a model of other joints everything is taken over but what is made for joints: each stack's heads, and
    where their maps are led back into the next stack.

    Returns: names of the network's weights that were left as they are; none where the joints are the same.

    Raises:
        ValueError: no such file, not such a file, or a network of another architecture.
    """
    saved = load_model(path)
    state, own = saved.network.state_dict(), model.network.state_dict()
    left: list[str] = []
    if saved.config.joints.names != model.config.joints.names:
        left = _made_for_joints(model.config)
        state |= {name: own[name] for name in left if name in state}
    check_architecture(path, model.network, model.config, state, saved.config, ("network",))
    model.network.load_state_dict(state)
    return left


def _made_for_joints(config: ModelConfig) -> list[str]:
    """The weights of a network whose shapes go by the number of joints."""
    with torch.device("meta"):
        one, other = (proposal_network(config.network, joints).state_dict() for joints in (2, 3))
    return [name for name, value in one.items() if value.shape != other[name].shape]


def check_architecture(
    path: Path,
    module: nn.Module,
    wanted: ModelConfig,
    state: Mapping[str, Tensor | TensorSpec],
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
    settings = differences(wanted, saved, groups) or ["no setting differs: the file was altered"]
    raise ValueError(
        f"{path}: a model of another architecture: {'; '.join(settings)}; for one, {shown(name)} is "
        f"{saved_shapes.get(name, 'absent')} in the file and {wanted_shapes.get(name, 'absent')} here; "
        "give the settings that the file was made with, or another file"
    )


def _check_model(path: Path, content: dict[str, Any]) -> None:
    """Raise `ValueError` where a file is no model of hgg that this version reads."""
    missing = {"format", "config", "model"} - content.keys()
    if missing:
        raise ValueError(f"{path}: not a model of hgg: {', '.join(sorted(missing))} missing")
    if content["format"] != FORMAT:
        found = shown(content["format"]) if isinstance(content["format"], int) else "unknown"
        raise ValueError(
            f"{path}: format {found}, this version of hgg reads {FORMAT}: use the version that wrote it"
        )


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16; whole numbers stay, and so do tensors with a value above 65504, as of variances."""
    rounded = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    return {name: value if finite(value) else state[name] for name, value in rounded.items()}


def _joints(config: ModelConfig) -> str:
    """A model's joints in a few words."""
    return f"{config.joints.count} of {config.joints.name} ({', '.join(config.joints.names[:3])}, ...)"


def _shapes(state: Mapping[str, Tensor | TensorSpec]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def differences(wanted: ModelConfig, saved: ModelConfig, groups: tuple[str, ...]) -> list[str]:
    """Settings that the two do not share, with both values."""
    lines = []
    if wanted.skeleton != saved.skeleton:
        lines = [
            f"skeleton is {saved.joints.name} ({saved.joints.count} joints) in the file and "
            f"{wanted.joints.name} ({wanted.joints.count}) here"
        ]
    for group in groups:
        ours, theirs = getattr(wanted, group).model_dump(), getattr(saved, group).model_dump()
        lines += [
            f"{group}.{key} is {theirs[key]} in the file and {value} here"
            for key, value in ours.items()
            if value != theirs[key]
        ]
    return lines


def needed_packages(config: NetworkConfig) -> tuple[str, ...]:
    """Packages that a network needs beside those that `hgg` always does."""
    if config.backbone in (HOURGLASS, LITE0):
        return ()
    return ("transformers", "timm") if config.backbone.startswith(TIMM) else ("transformers",)


def _versions(config: NetworkConfig) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy", *needed_packages(config))}
