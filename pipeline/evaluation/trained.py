"""The trained model that evaluation and prediction run."""

import logging
from collections.abc import Collection
from pathlib import Path

import torch
from pydantic import ValidationError

from hgg.config import ModelConfig
from hgg.model import HGG
from hgg.onnx_model import is_onnx, read_model, settings_in
from pipeline.base.errors import UserError
from pipeline.base.provenance import REPOSITORY
from pipeline.settings.config import RunConfig
from pipeline.tracking.registry import local_model

SHIPPED = ("hgg_models", "docs/models")
"""Where models come along below the folder that `pipeline` is in: of an installed package, and of a clone."""

log = logging.getLogger(__name__)


def model_file(config: RunConfig) -> Path:
    """`evaluate.checkpoint`, or the best model of the trial's (or the run root's) joint training.

    Raises:
        UserError: it is not there.
    """
    path = local_model(config, config.evaluate.checkpoint or default_model(config))
    if not path.is_file():
        raise UserError(
            f"{path}: no model there: run jobs/train_joint.py with this configuration first, or name a file "
            "with evaluate.checkpoint=FILE"
        )
    return path


def default_model(config: RunConfig) -> Path:
    """The best model of the trial's (or the run root's) joint training, whether it is there or not."""
    return config.outputs / "joint" / "best.pt"


def shipped_model() -> Path | None:
    """The small model that comes along, of a clone or of an installed package; None where it was left out."""
    files = (REPOSITORY / folder / "lite0_hgg.pt" for folder in SHIPPED)
    return next((file for file in files if file.is_file()), None)


def saved_model_settings(path: Path, given: ModelConfig, keys: Collection[str]) -> ModelConfig:
    """The settings that a model was saved with, those of these dotted keys as they are given.

    Raises:
        UserError: no model file, or settings that contradict one another.
    """
    try:
        saved = settings_in(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    values, asked = saved.model_dump(), given.model_dump()
    changed = [key for key in keys if key.partition(".")[0] in values]
    for key in changed:
        group, name = [*key.split("."), ""][:2]
        if name and isinstance(values[group], dict):
            values[group][name] = asked[group][name]
        else:
            values[group] = asked[group]
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        told = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise UserError(f"{', '.join(changed)}: with the other settings of {path}: {told}") from error


def trained_model(path: Path, settings: ModelConfig | None, use_gpu: bool) -> HGG:
    """The model of a file, on the first GPU or the CPU.

    Args:
        settings: what the model is built by; None takes the file's own.
        use_gpu: `train.use_gpu`; where there is no GPU the CPU serves.

    Raises:
        UserError: a file that is no model, or one of another architecture than the settings.
    """
    try:
        model = read_model(path, settings)
    except ValueError as error:
        raise UserError(str(error)) from error
    if is_onnx(path):
        return model  # ONNX Runtime's network is on the CPU
    if use_gpu and not torch.cuda.is_available():
        log.warning("train.use_gpu=true, but there is no GPU here: running on the CPU")
    device = "cuda" if use_gpu and torch.cuda.is_available() else "cpu"
    # Convolutions on CPUs are 5 to 10 % faster with the channels last.
    return model.to(device, memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]  # real, untyped
