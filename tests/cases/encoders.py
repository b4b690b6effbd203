"""Small encoders in the hourglass' place, and published weights of one as the hub gives them."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from hgg.config import NetworkConfig
from hgg.encoder import EncoderNetwork
from hgg.model import HGG

MEAN, DEVIATION = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
_WIDTHS = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
# By kind of encoder, settings of some 20,000 weights.
SMALL: dict[str, dict[str, Any]] = {
    "resnet": _WIDTHS | {"embedding_size": 8, "layer_type": "basic"},
    "convnextv2": _WIDTHS | {"drop_path_rate": 0.2},
    "swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window_size": 4},
}


def encoder_settings(kind: str = "resnet", **changes: Any) -> dict[str, Any]:
    """Settings of a network on a small encoder."""
    settings = {"input_size": 64, "channels": 16, "visual_dim": 4, "backbone": kind, "encoder": SMALL[kind]}
    return settings | changes


def encoder_config(kind: str = "resnet", **changes: Any) -> NetworkConfig:
    """The same, checked."""
    return NetworkConfig.model_validate(encoder_settings(kind, **changes))


def encoder_of(model: HGG) -> EncoderNetwork:
    """A model's network."""
    assert isinstance(model.network, EncoderNetwork)
    return model.network


def timm_or_skip() -> Any:
    """The package, where it imports."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not import here ({error}): pip install timm torchvision")
    return timm


def publish(folder: Path, kind: str = "resnet", *, colours: bool = True) -> dict[str, torch.Tensor]:
    """A classifier on an encoder, saved as on the hub; returns the weights by the names in its file."""
    import transformers
    from safetensors.torch import load_file

    config = transformers.CONFIG_MAPPING[kind](**SMALL[kind])
    torch.manual_seed(7)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    if colours:
        text = json.dumps({"image_mean": MEAN, "image_std": DEVIATION})
        (folder / "preprocessor_config.json").write_text(text)
    return load_file(folder / "model.safetensors")


@contextmanager
def hub_of(folder: Path) -> Iterator[str]:
    """The address of a hub on loopback, each of whose models has the files of a folder."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def _answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            file = folder / path.rpartition("/")[2]
            found = "/resolve/" in path and file.is_file()
            content = file.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            if not found:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
