"""A model as one graph of operations, which runs where this project is not: pictures in, people's parts out.

`torch.export` traces it once for pictures of any number and size. With the grouping in it the graph has
loops, which end when there is nothing left to merge (`hgg.fixed`), and N candidates a picture.

Letters: B pictures, J joint types, H W sides of a picture, S those of its maps (a quarter), N candidates.
"""

import json
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.torch_version import TorchVersion

from hgg.about import about, least_steps
from hgg.config import NUM_STRIDE, ModelConfig
from hgg.encoders import in_a_line
from hgg.fixed import FixedGrouping
from hgg.model import HGG
from hgg.weights import halved

INPUTS = ("pictures", "inside")
MAPS = ("heatmaps", "tags", "visual")
PEOPLE = ("found", "kind", "xy", "score", "tag", "member", "confidence")
CANDIDATES = 128
"""Of a picture, unless asked for otherwise; as many as conf/lite0.yaml keeps in training."""
OLDEST_TORCH = "2.10"
"""What torch.export of 2.9 makes does not run (its guards name what is not there), and its exporter to ONNX
has no `while_loop`. Tried with 2.13."""
CHATTER = ("torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")
"""Loggers that tell of packages which nothing here needs, and of each operation that is not simplified."""


class NetworkAlone(nn.Module):
    """The keypoint proposal network: pictures (B, 3, H, W), RGB in [0, 1], to the last stack's maps."""

    def __init__(self, model: HGG) -> None:
        super().__init__()
        self.network = model.network

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """`MAPS`: heatmaps and tags (B, J, S, S), relational features (B, V, S, S)."""
        maps = self.network(pictures)
        return maps.heatmaps[-1], maps.tags[-1], maps.visual


class Whole(nn.Module):
    """The network and the grouping of its maps.

    Shapes:
        pictures (B, 3, H, W), RGB in [0, 1], and inside (B, 1, S, S), 1 for cells of the photograph and 0 for
        what fills the picture up, to `MAPS`, the heatmaps 0 outside, and `PEOPLE`: found (B,), kind, score,
        tag, member and confidence (B, N), xy (B, N, 2). Behind the candidates member is -1, kind, xy, score
        and tag are 0.
    """

    def __init__(self, model: HGG, number: int) -> None:
        super().__init__()
        self.alone, self.grouping = NetworkAlone(model), FixedGrouping(model, number)

    def forward(self, pictures: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
        """`MAPS` and `PEOPLE`."""
        heatmaps, tags, visual = self.alone(pictures)
        heatmaps = heatmaps * inside
        found, candidates, clusters = self.grouping(heatmaps, tags, visual)
        valid = candidates.valid
        described = (
            candidates.kind * valid,
            candidates.xy * valid[..., None],
            candidates.score * valid,
            candidates.tag[..., 0] * valid,
        )
        return heatmaps, tags, visual, found, *described, *clusters


class Halved(nn.Module):
    """A module whose weights are kept in half precision, and are float32 again when it runs.

    The module is left as it is.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.of = [module]  # in a list its own weights are none of this one's
        for name, value in halved(dict(_tensors(module))).items():
            self.register_buffer(_flat(name), value.detach())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """As the module's."""
        (module,) = self.of
        weights = {name: getattr(self, _flat(name)).to(value.dtype) for name, value in _tensors(module)}
        return torch.func.functional_call(module, weights, inputs)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _flat(name: str) -> str:
    return name.replace(".", "__")


def graph_of(model: HGG, number: int, *, half: bool = False) -> ExportedProgram:
    """A model as a graph, in evaluation mode.

    Args:
        model: on the CPU; is left as it is.
        number: N, candidates of a picture; 0 leaves the grouping out, for which `hgg.fixed.why_not_fixed` may
            be asked.
        half: whether weights are kept in float16.

    Raises:
        ValueError: a torch that is too old, or an encoder whose code torch cannot make a graph of.
    """
    if TorchVersion(torch.__version__) < OLDEST_TORCH:
        raise ValueError(
            f"torch {torch.__version__} makes no graphs that run: export with torch 2.13 or newer"
        )
    module: nn.Module = Whole(model, number) if number else NetworkAlone(model)
    module = (Halved(module) if half else module).eval()
    example, shapes = _example(model.config), _shapes(model.config)
    used = INPUTS if number else INPUTS[:1]
    sides = tuple(shapes[name] for name in used)
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(
                module,
                tuple(example[name] for name in used),
                dynamic_shapes=(sides,) if half else sides,  # Halved takes them as one tuple
            )
    except Exception as error:  # of an encoder's code anything
        backbone = model.config.network.backbone
        raise ValueError(
            f"network.backbone={backbone}: no graph by torch.export: {in_a_line(error)}"
        ) from error


def save_program(path: Path, model: HGG, number: int, *, half: bool = False) -> None:
    """Write a model as a program of `torch.export`, for `torch.export.load`.

    With `about.json` and `config.json` beside it, which `extra_files` reads: as the metadata of
    `hgg.onnx_file`.

    Args:
        path: named .pt2; is overwritten.
        model: on the CPU; is left as it is.
        number: candidates of a picture; 0 leaves the grouping out.
        half: keep weights in float16.
    """
    program = graph_of(model, number, half=half)
    told = {
        "about.json": about(model.config, number, half=half),
        "config.json": model.config.model_dump(mode="json"),
    }
    with quiet():
        torch.export.save(program, path, extra_files={name: json.dumps(each) for name, each in told.items()})


def _example(config: ModelConfig) -> dict[str, Tensor]:
    """Two pictures that are wider than high: a graph is traced for what may be told apart."""
    least = least_steps(config)
    rows, columns = ((least + more) * config.network.step for more in (1, 2))
    inside = torch.ones(2, 1, rows // NUM_STRIDE, columns // NUM_STRIDE)
    return {"pictures": torch.zeros(2, 3, rows, columns), "inside": inside}


def _shapes(config: ModelConfig) -> dict[str, dict[int, Any]]:
    """Which sides may be others, in steps of the network."""
    least, step = least_steps(config), config.network.step
    pictures = Dim("B", min=1)
    rows, columns = Dim("rows", min=least), Dim("columns", min=least)
    cells = step // NUM_STRIDE
    return {
        "pictures": {0: pictures, 2: step * rows, 3: step * columns},
        "inside": {0: pictures, 2: cells * rows, 3: cells * columns},
    }


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Without what torch and its exporter say of themselves, which nobody who exports a model can act on."""
    loggers = [getLogger(name) for name in CHATTER]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(ERROR)
        with warnings.catch_warnings():
            # Torch 2.13 copies its own trees in a way that it calls deprecated.
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
