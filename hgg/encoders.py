"""The encoders that may stand in the hourglass' place: EfficientNet-Lite0, transformers' AutoBackbone,
and timm's through it.

They are known by their names there. What maps one gives, and which of its weights each map depends on, is
found by showing it a picture without numbers (on torch's meta device), so nothing here lists encoders.
"""

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hgg.config import ENCODER_STRIDE, NUM_STRIDE, TIMM, EncoderValue, NetworkConfig
from hgg.efficientnet import COLOURS, EfficientNetLite0
from hgg.efficientnet import NAME as LITE0

AUTO = "transformers.models.auto.modeling_auto"
EXTRA = "pip install 'transformers>=5.24,<6' (the extra `backbones`)"
# What a model of timm may be given; its other arguments fetch or read files.
TIMM_FIELDS = ("drop_rate", "drop_path_rate", "img_size")
LEAST_COARSE = 16
WIDER = 448
"""Pixels by which the picture that an encoder is tried with is wider than it is high: photographs are not
square, and of a small one 14 pixels a cell, as some encoders have, look like 16."""
LARGEST, MOST_LAYERS = 8192, 256
LONGEST = 300  # characters of an error of a library that a message quotes
OF_LAYERS = ("depth", "layer", "block")  # in the names of settings that say how many there are
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours, by which nearly all of transformers' are trained."""

Fields = tuple[tuple[str, EncoderValue], ...]


class NoEncoderError(ValueError):
    """An encoder that cannot be had as it is asked for; its text says why, and what to do."""


class Stages(NamedTuple):
    """The maps that are taken of an encoder, from the finest to the coarsest."""

    outputs: tuple[str | int, ...]
    """What the encoder calls them: names of transformers', places of the others'."""
    strides: tuple[int, ...]
    """Input pixels per cell: 4, 8, 16 and 32, those that there are."""
    channels: tuple[int, ...]
    weights: tuple[frozenset[str], ...]
    """Names of the parameters that each map depends on, those of the maps before it among them."""


def fields_of(config: NetworkConfig) -> Fields:
    """The encoder's own settings in an order of their own."""
    return tuple(sorted(config.encoder.items()))


@cache
def stages_of(backbone: str, fields: Fields, side: int) -> Stages:
    """What an encoder gives for pictures of `side` pixels and of other shapes.

    Raises `ValueError`: no such encoder or setting, a package that is missing, or maps that do not fit.
    """
    try:
        _check_fields(backbone, fields)
        with torch.device("meta"), torch.enable_grad():
            every = _encoder(backbone, fields, None)
            outputs, strides = _taken(every, backbone, side)
            encoder = _encoder(backbone, fields, outputs).eval()
            maps = encoder(torch.zeros(1, 3, side, side + WIDER)).feature_maps
            weights = tuple(_weights_of(each, encoder) for each in maps)
    except NoEncoderError:
        raise
    except Exception as error:  # of a library that takes settings of any kind, and fails where they are used
        raise NoEncoderError(
            f"network.backbone={backbone} with network.encoder={_as_lists(dict(fields))} cannot show "
            f"pictures of {side} x {side + WIDER} pixels ({type(error).__name__}: "
            f"{in_a_line(error)}): change network.encoder, or take another backbone"
        ) from error
    cumulated = tuple(frozenset().union(*weights[: number + 1]) for number in range(len(weights)))
    return Stages(outputs, strides, tuple(each.shape[1] for each in maps), cumulated)


def build_encoder(backbone: str, fields: Fields, stages: Stages, **arguments: Any) -> Any:
    """The encoder with weights drawn by torch's generator, whose `feature_maps` are those of `stages`."""
    return _encoder(backbone, fields, stages.outputs, **arguments)


def colours_of(backbone: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the RGB in [0, 1] that an encoder is trained with."""
    if backbone == LITE0:
        return COLOURS
    if not backbone.startswith(TIMM):
        return IMAGENET
    published = _timm(backbone).get_pretrained_cfg(backbone.removeprefix(TIMM))
    return (tuple(published.mean), tuple(published.std)) if published is not None else IMAGENET


def settings_of(backbone: str, fields: Fields) -> Any:
    """Transformers' configuration of an encoder, all of its maps asked for."""
    kind = _transformers(backbone).CONFIG_MAPPING[backbone]
    # Some kinds have a tuple as a default where they need a list.
    default = kind()
    own = {name: getattr(default, name, None) for name in known_fields(backbone)}
    lists = _as_lists({name: value for name, value in own.items() if isinstance(value, tuple)})
    return kind(**lists | _as_lists(dict(fields)))


def _encoder(backbone: str, fields: Fields, outputs: tuple[str | int, ...] | None, **arguments: Any) -> Any:
    """With the maps of some stages, or of all."""
    if backbone == LITE0:
        return EfficientNetLite0(outputs)  # pyrefly: ignore[bad-argument-type]  # its places
    transformers = _transformers(backbone)
    if backbone.startswith(TIMM):
        name, timm = backbone.removeprefix(TIMM), _timm(backbone)
        if outputs is None:
            outputs = tuple(
                timm.create_model(name, features_only=True, **dict(fields)).feature_info.out_indices
            )
        config = transformers.TimmBackboneConfig(backbone=name, out_indices=[*outputs])
        return transformers.AutoBackbone.from_config(config, **dict(fields), **arguments)
    config = settings_of(backbone, fields)
    config.out_features = [*(config.stage_names if outputs is None else outputs)]
    return transformers.AutoBackbone.from_config(config, **arguments)


def _check_fields(backbone: str, fields: Fields) -> None:
    """Raise `ValueError` for a setting that the encoder does not have, or one that is out of bounds."""
    known = known_fields(backbone)
    for name, value in fields:
        key = f"network.encoder.{name}={[*value] if isinstance(value, tuple) else value}"
        if name not in known:
            raise NoEncoderError(
                f"{key}: no setting of backbone={backbone}: {', '.join(known) or 'it has none'}"
            )
        most = MOST_LAYERS if any(word in name for word in OF_LAYERS) else LARGEST
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, int | float) and not -1 <= each <= most:
                raise NoEncoderError(f"{key}: must be between -1 and {most}")


def known_fields(backbone: str) -> list[str]:
    """Names of an encoder's own settings, but for those that this project decides."""
    if backbone == LITE0:
        return []
    if backbone.startswith(TIMM):
        return [*TIMM_FIELDS]
    transformers = _transformers(backbone)
    common = transformers.PreTrainedConfig().to_dict().keys()
    own = transformers.CONFIG_MAPPING[backbone]().to_dict()
    hidden = {"model_type", "num_channels", "stage_names", "out_features", "out_indices", *common}
    plain = bool | int | float | str | list | tuple
    return sorted(name for name, value in own.items() if name not in hidden and isinstance(value, plain))


def _taken(encoder: Any, backbone: str, side: int) -> tuple[tuple[str | int, ...], tuple[int, ...]]:
    """Of each stride from 4 to 32 the last map that has it, and these strides."""
    height, width = side, side + WIDER
    maps = encoder.eval()(torch.zeros(1, 3, height, width)).feature_maps
    names = encoder.out_indices if backbone.startswith(TIMM) else encoder.out_features
    wanted = [NUM_STRIDE * 2**level for level in range((ENCODER_STRIDE // NUM_STRIDE).bit_length())]
    taken = {
        stride: name
        for name, each in zip(names, maps, strict=True)
        for stride in wanted
        if each.ndim == 4 and each.shape[-2:] == (height // stride, width // stride)
    }
    if max(taken, default=0) < LEAST_COARSE:  # where people are large nothing would see them whole
        found = ", ".join(dict.fromkeys("x".join(map(str, each.shape[1:])) for each in maps))
        raise NoEncoderError(
            f"network.backbone={backbone}: its maps of a picture of {height} x {width} pixels are {found}; "
            f"taken are those at strides of {', '.join(map(str, wanted))}, one of {LEAST_COARSE} or more "
            "among them: take another backbone"
        )
    strides = tuple(sorted(taken))
    return tuple(taken[stride] for stride in strides), strides


def _weights_of(map_BCHW: Tensor, encoder: nn.Module) -> frozenset[str]:
    """Names of the parameters that a map depends on."""
    named = dict(encoder.named_parameters())
    gradients = torch.autograd.grad(map_BCHW.sum(), [*named.values()], allow_unused=True, retain_graph=True)
    return frozenset(name for name, each in zip(named, gradients, strict=True) if each is not None)


def _transformers(backbone: str) -> Any:
    """The package, where it has the encoder."""
    try:
        package = importlib.import_module("transformers")
        kinds = importlib.import_module(
            "transformers.models.auto.modeling_auto"
        ).MODEL_FOR_BACKBONE_MAPPING_NAMES
    except ImportError as error:
        raise NoEncoderError(
            f"network.backbone={backbone} needs the package transformers ({in_a_line(error)}): {EXTRA}"
        ) from error
    known = [*(kind for kind in kinds if kind != "timm_backbone")]
    if not backbone.startswith(TIMM) and backbone not in known:
        near = get_close_matches(backbone, [LITE0, *known], 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise NoEncoderError(
            f"network.backbone={backbone}: {hint}Known are hourglass, {LITE0}, {', '.join(known)}, and "
            f"{TIMM}NAME"
        )
    return package


def _timm(backbone: str) -> Any:
    """The package, where it has the model."""
    try:
        package = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # torchvision beside a torch of another build
        raise NoEncoderError(
            f"network.backbone={backbone} needs the package timm, and timm a torchvision that was built for "
            f"this torch {torch.__version__} ({in_a_line(error)}): pip install timm torchvision"
        ) from error
    name = backbone.removeprefix(TIMM)
    if not package.is_model(name):
        near = get_close_matches(name.partition(".")[0], package.list_models(), 3)
        hint = f"did you mean {', '.join(f'{TIMM}{each}' for each in near)}? " if near else ""
        raise NoEncoderError(f"network.backbone={backbone}: {hint}timm.list_models() lists the names")
    return package


def _as_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [*value] if isinstance(value, tuple) else value for name, value in values.items()}


def in_a_line(error: BaseException) -> str:
    """What an error of a library says, in one line and not all of a long one."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
