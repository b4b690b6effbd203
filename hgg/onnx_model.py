"""A model out of an ONNX file: ONNX Runtime is its network, the rest is as of any other model.

Candidates, grouping and people are this project's own code with the weights of grouping that the file holds,
so that every grouping, every way of looking and `explain` work, with any number of candidates. The people of
the file's own graph are for programs that have ONNX Runtime alone.

Letters: B images, K stacks (of which the file has the last), J joint types, S output side in cells.
"""

import base64
import json
import os
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hgg.config import ModelConfig
from hgg.exported import INPUTS, MAPS
from hgg.maps import Maps
from hgg.model import HGG
from hgg.onnx_file import FORMAT, SUFFIX, is_whole
from hgg.reading import check_weights, in_settings, saved_settings, shown
from hgg.weights import check_architecture, differences, load_model

RUNTIME_MISSING = "{path}: an ONNX file needs ONNX Runtime: pip install 'hgg[export]' ({error})"
NOT_OURS = (
    "{path}: an ONNX file of something else than hgg: its metadata has no {key}; give one that "
    "jobs/export.py --format onnx wrote"
)
BESIDE = "session.model_external_initializers_file_folder_path"
"""Where a graph may name files with weights: nowhere, or it would be the working folder."""
KINDS = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "int64": np.dtype("<i8")}
OTHERWISE = ("input_size", "weights", "frozen_stages")
"""Settings of the network that change nothing of a trained one's weights."""


class _File(NamedTuple):
    """An ONNX file of a model, opened."""

    session: Any
    """Of ONNX Runtime."""
    config: ModelConfig
    grouping: dict[str, Tensor]
    """Weights of the grouping; none where tags alone group."""


class OnnxNetwork(nn.Module):
    """A keypoint proposal network that ONNX Runtime runs, on the CPU.

    Shapes:
        images (B, 3, H, W), as of any other, to `Maps` of one stack, on the images' device.
    """

    def __init__(self, session: Any) -> None:
        super().__init__()
        import onnxruntime

        self.session, self.options = session, onnxruntime.RunOptions()
        # Not the people of its graph.
        self.options.only_execute_path_to_fetches = True
        self.asks = [each.name for each in session.get_inputs()]

    def forward(self, images_B3HW: Tensor) -> Maps:
        """Heatmaps and tags of the last stack, and the relational feature map."""
        batch, _, height, width = images_B3HW.shape
        given = {INPUTS[0]: images_B3HW.detach().cpu().contiguous().numpy()}
        if INPUTS[1] in self.asks:
            given[INPUTS[1]] = np.ones((batch, 1, height // 4, width // 4), np.float32)
        found = self.session.run([*MAPS], given, self.options)
        heatmaps, tags, visual = (torch.from_numpy(part).to(images_B3HW.device) for part in found)
        return Maps(heatmaps[None], tags[None], visual)


def read_model(path: Path, config: ModelConfig | None = None) -> HGG:
    """A model of a file of either kind, on the CPU and in evaluation mode.

    Args:
        path: what `hgg.weights.save_model` or `hgg.onnx_file.save_onnx` wrote, the latter named .onnx.
        config: settings in place of the file's own, as in `hgg.weights.load_model`.

    Raises:
        ValueError: as `load_model`; for an ONNX file, ONNX Runtime that is missing, too.
    """
    if not is_onnx(path):
        return load_model(path, config)
    session, saved, state = _opened(path)
    model = HGG(config or saved, OnnxNetwork(session))
    _check(path, model, saved, state)
    model.grouping.load_state_dict(state, strict=bool(state))
    return model.eval()


def settings_in(path: Path) -> ModelConfig:
    """The settings that a model file of either kind was saved with; raises as `read_model`."""
    return _opened(path).config if is_onnx(path) else in_settings(path)


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX one by its name."""
    return path.suffix.lower() == SUFFIX


def _opened(path: Path) -> _File:
    """The file's parts, each looked at before it is believed."""
    data = _bytes(path)
    session = _session(path, data)
    told = session.get_modelmeta().custom_metadata_map
    for key in ("format", "config", "grouping", "weights", "sha256"):
        if key not in told:
            raise ValueError(NOT_OURS.format(path=path, key=key))
    if told["format"] != FORMAT:
        raise ValueError(
            f"{path}: format {shown(told['format'])}, this version of hgg reads {FORMAT}: use the version "
            "that wrote it"
        )
    try:
        whole = is_whole(data)
        config = saved_settings(path, json.loads(told["config"]))
        state = _weights(json.loads(told["grouping"]), base64.b64decode(told["weights"], validate=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            str(error) if str(path) in str(error) else f"{path}: the file was altered: {shown(error)}"
        ) from error
    if not whole:
        raise ValueError(f"{path}: not that of its checksum: the file was altered; make it again")
    _check_sides(path, session)
    return _File(session, config, state)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _session(path: Path, data: bytes) -> Any:
    """ONNX Runtime on these very bytes, with as many threads as torch has; no operators but its own."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(RUNTIME_MISSING.format(path=path, error=error)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry(BESIDE, os.devnull)
    options.log_severity_level = 4  # what is wrong with a file is raised, and said in one line
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise ValueError(
            f"{path}: not an ONNX file, cut off, or one that ONNX Runtime does not run ({shown(error)})"
        ) from error


def _weights(table: object, data: bytes) -> dict[str, Tensor]:
    """Tensors by name, float32 where they are numbers with a point, from their bytes one after the other."""
    if not isinstance(table, list):
        raise ValueError("its weights of grouping have no table")
    state, start = {}, 0
    for name, kind, shape in table:
        numbers = KINDS.get(kind)
        if numbers is None or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"{shown(name)} is {shown(kind)} {shown(shape)}")
        end = start + prod(shape) * numbers.itemsize
        if end > len(data):
            raise ValueError(f"{shown(name)} ends behind the {len(data)} bytes that are there")
        values = torch.from_numpy(np.frombuffer(data[start:end], numbers).astype(numbers.newbyteorder("=")))
        state[str(name)] = values.float().view(*shape) if values.is_floating_point() else values.view(*shape)
        start = end
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes of weights are nobody's")
    return state


def _check_sides(path: Path, session: Any) -> None:
    """Raise `ValueError` where a graph does not take pictures or does not give maps."""
    asked, given = ({each.name for each in part} for part in (session.get_inputs(), session.get_outputs()))
    if not ({INPUTS[0]} <= asked <= {*INPUTS} and {*MAPS} <= given):
        raise ValueError(
            f"{path}: its graph takes {shown(sorted(asked))} and gives {shown(sorted(given))}: not hgg's"
        )


def _check(path: Path, model: HGG, saved: ModelConfig, state: dict[str, Tensor]) -> None:
    """Raise `ValueError` where settings are not those of the file's graph, or weights not those of them."""
    wanted = model.config
    same = wanted.network.model_copy(update={name: getattr(saved.network, name) for name in OTHERWISE})
    if same != saved.network or wanted.joints.names != saved.joints.names:
        told = "; ".join(differences(wanted, saved, ("network",)))
        raise ValueError(f"{path}: the network of an ONNX file is as it was written: {told}")
    if state or wanted.grouping.decoder != "associative":
        check_architecture(path, model.grouping, wanted, state, saved, ("grouping",))
    check_weights(path, state)
