"""A model as an ONNX file: its graph, and all that is needed beside it as metadata of the same file.

Metadata by key, each a text:

- `format`: of what follows, raised when older readers cannot read it.
- `about`: what goes in and comes out, in words and numbers, as JSON; for whoever has the file alone.
- `config`: all settings of the model (`hgg.config.ModelConfig`), as JSON.
- `grouping`: names, kinds and shapes of the grouping's weights, as JSON, and `weights`: their bytes one after
  the other, little-endian, in base64. The graph holds them too, but as its own constants.
- `sha256`: of the file, these 64 digits taken for zeros.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgg.about import about
from hgg.exported import CANDIDATES, INPUTS, MAPS, PEOPLE, graph_of, quiet
from hgg.model import HGG
from hgg.weights import halved

SUFFIX = ".onnx"
FORMAT = "1"
OPSET = 20
DIGITS = 64
SEALED = b"sha256\x12" + bytes([DIGITS])  # the key, and that a text of so many bytes follows (protobuf)
LARGEST = 2**31 - 1  # bytes of a protobuf message
MISSING = "{path}: writing an ONNX file needs onnx and onnxscript: pip install 'hgg[export]' ({error})"


def save_onnx(path: Path, model: HGG, number: int = CANDIDATES, *, half: bool = False) -> None:
    """Write a model to an ONNX file.

    Args:
        path: is overwritten.
        model: on the CPU; is left as it is.
        number: candidates of a picture; 0 leaves the grouping out of the graph. `hgg.onnx_model` needs none.
        half: keep weights in float16; they are float32 again when the graph runs.

    Raises:
        ValueError: a package is missing, or the file would be larger than ONNX allows.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch's exporter imports it
    except ImportError as error:
        raise ValueError(MISSING.format(path=path, error=error)) from error
    if sum(value.numel() * value.element_size() for value in model.state_dict().values()) > LARGEST:
        raise ValueError(f"{path}: of more than 2 GiB, which one ONNX file cannot hold: use format pt")
    proto = _graph(model, number, half=half)
    onnx.helper.set_model_props(proto, metadata_of(model, number, half=half))
    onnx.checker.check_model(proto)
    path.write_bytes(sealed(proto.SerializeToString(deterministic=True)))


def _graph(model: HGG, number: int, *, half: bool) -> Any:
    """The graph as ONNX's own object, its inputs, outputs and sides by their names here."""
    program = graph_of(model, number, half=half)
    with quiet():
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=INPUTS if number else INPUTS[:1],
            output_names=MAPS + PEOPLE if number else MAPS,
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort()},
            verbose=False,
        )
    assert written is not None
    proto = written.model_proto
    batch, _, rows, columns = (side.dim_param for side in proto.graph.input[0].type.tensor_type.shape.dim)
    names = {batch: "B", rows.rpartition("*")[2]: "rows", columns.rpartition("*")[2]: "columns"}
    _tidy(proto.graph, names)
    return proto


def _tidy(graph: Any, names: dict[str, str]) -> None:
    """Give the sides of pictures and maps names, and forget in which file each operation was written."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), side.dim_param)
    for node in graph.node:
        del node.metadata_props[:]
        for inner in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
            _tidy(inner, names)


def _stable_sort() -> Any:
    """torch's stable sort, for which its exporter has no operation: ONNX's TopK of all, which is stable."""
    from onnxscript import opset20

    op: Any = opset20

    def stable_sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:  # noqa: ARG001
        length = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, length, axis=dim, largest=int(descending), sorted=1)

    return stable_sort


def metadata_of(model: HGG, number: int, *, half: bool) -> dict[str, str]:
    """The file's metadata, its seal still open."""
    weights = model.grouping.state_dict() if model.config.grouping.decoder == "hgg" else {}
    weights = halved(weights) if half else weights
    table = [
        [name, str(value.dtype).removeprefix("torch."), [*value.shape]] for name, value in weights.items()
    ]
    return {
        "format": FORMAT,
        "about": json.dumps(about(model.config, number, half=half)),
        "config": json.dumps(model.config.model_dump(mode="json")),
        "grouping": json.dumps(table),
        "weights": base64.b64encode(b"".join(_bytes(value) for value in weights.values())).decode(),
        "sha256": "0" * DIGITS,
    }


def _bytes(value: Tensor) -> bytes:
    numbers = value.detach().cpu().contiguous().numpy()
    return numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()


def sealed(data: bytes) -> bytes:
    """A file with its checksum in the place that is kept for it."""
    start = _seal(data)
    assert start
    return data[:start] + hashlib.sha256(data).hexdigest().encode() + data[start + DIGITS :]


def is_whole(data: bytes) -> bool:
    """Whether a file is that of its checksum; one without is not."""
    start = _seal(data)
    whole = hashlib.sha256(data[:start])
    whole.update(b"0" * DIGITS)
    whole.update(memoryview(data)[start + DIGITS :])
    return start > 0 and data[start : start + DIGITS] == whole.hexdigest().encode()


def _seal(data: bytes) -> int:
    """Where the checksum's digits begin; 0 where there are none, or more than one place for them."""
    start = data.rfind(SEALED)
    return start + len(SEALED) if start >= 0 and data.find(SEALED) == start else 0
