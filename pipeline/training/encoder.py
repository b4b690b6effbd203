"""What an encoder begins with, kept in the run root: fetched once, the same for every worker and resume."""

import logging
from pathlib import Path

import torch

from hgg.config import NetworkConfig
from hgg.encoder_weights import first_weights, local_path
from hgg.model import HGG
from hgg.reading import check_weights, digest, read_safely
from pipeline.base.errors import UserError
from pipeline.base.files import atomic_path, sha256_file
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint

FOLDER = "encoder"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".json")  # files of a folder that its weights are read from

log = logging.getLogger(__name__)


def kept_weights(config: RunConfig) -> Path | None:
    """The file under the run root that holds what `network.weights` names; None where it names nothing.

    Raises `UserError` where they cannot be had, or are not of this encoder.
    """
    network = config.network
    if not network.weights:
        return None
    path = config.run_root / FOLDER / f"{_name(network)}.pt"
    if path.is_file():
        return path
    log.info("network.weights=%s: %s", network.weights, "read" if local_path(network.weights) else "fetched")
    torch.manual_seed(config.train.seed)
    try:
        state, drawn = first_weights(network)
    except ValueError as error:
        raise UserError(str(error)) from error
    if drawn:
        log.info("%d weights of the encoder are not there and are drawn: %s", len(drawn), ", ".join(drawn))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save({"network": state, "sha256": digest(state)}, file)
    return path


def take_over(path: Path, model: HGG) -> None:
    """Give a model's encoder what it begins with; `UserError` where the file was altered."""
    try:
        content = read_safely(path)
        check_weights(path, content["network"])
        if content["sha256"] != digest(content["network"]):
            raise ValueError(f"{path}: its weights are not those of its checksum")
    except (ValueError, KeyError) as error:
        raise UserError(f"{error}: move {path} away, and it is made again") from error
    model.network.load_state_dict(content["network"], strict=False)
    log.info("encoder: %d weights of %s", len(content["network"]), path)


def _name(network: NetworkConfig) -> str:
    """Twelve digits of the encoder and of where its weights are from; of files, of what is in them."""
    source: object = network.weights
    path = local_path(network.weights)
    if path is not None:
        files = (
            [path] if path.is_file() else sorted(each for each in path.iterdir() if each.suffix in WEIGHTS)
        )
        source = {file.name: sha256_file(file) for file in files}
    return fingerprint({"backbone": network.backbone, "encoder": network.encoder, "weights": source})
