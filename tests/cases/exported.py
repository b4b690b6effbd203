"""Models to export, what is shown to them, and ONNX Runtime on what came of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgg.exported import MAPS, PEOPLE, NetworkAlone, Whole
from hgg.model import HGG
from hgg.testtime import frame
from hgg.transform import cells_inside, warp

NUMBER = 24
PADDED = ("kind", "xy", "score", "tag")


def decided(model: HGG) -> HGG:
    """The model with logits spread widely: as drawn they are so alike that rounding decides who merges."""
    with torch.no_grad():
        for discriminator in (model.grouping.edge, model.grouping.macro):
            if weights := [each for each in discriminator.parameters() if each.dim() > 1]:
                weights[-1].mul_(20)
    return model


def run_file(path: Path, given: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """What a file's graph gives by ONNX Runtime."""
    return run_session(open_file(path), given)


def open_file(path: Path) -> Any:
    """ONNX Runtime's session, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, given: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """All that a session gives, by name."""
    names = [each.name for each in session.get_outputs()]
    found = session.run(names, {name: value.numpy() for name, value in given.items()})
    return dict(zip(names, found, strict=True))


@torch.no_grad()
def expected_of(model: HGG, given: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """The same by PyTorch."""
    module: Any = Whole(model, number) if number else NetworkAlone(model)
    return dict(zip(MAPS + PEOPLE, module(**given), strict=False))


def pictures(images: int, rows: int, columns: int, *, inside: bool, seed: int = 0) -> dict[str, Tensor]:
    """Noise, and where it is asked for a photograph that does not fill its picture."""
    generator = torch.Generator().manual_seed(seed)
    shown = {"pictures": torch.rand(images, 3, rows, columns, generator=generator)}
    if inside:
        shown["inside"] = torch.ones(images, 1, rows // 4, columns // 4)
        shown["inside"][:, :, : rows // 16] = 0
    return shown


def photograph(model: HGG, picture: np.ndarray) -> dict[str, Tensor]:
    """A photograph as the model is shown it: RGB uint8 (H, W, 3)."""
    height, width = picture.shape[:2]
    shown = frame(width, height, model.config.network, "long")
    content = warp(picture, shown.transform, model.config.network.input_size)
    return {
        "pictures": torch.from_numpy(content).permute(2, 0, 1)[None].float() / 255,
        "inside": torch.from_numpy(cells_inside(width, height, *shown))[None, None].float(),
    }


def assert_agrees(found: dict[str, np.ndarray], expected: dict[str, Tensor], tolerance: float = 2e-5) -> None:
    """Whole numbers are the same, others within a share of the largest, positions within 0.01 cells."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        ours = torch.from_numpy(found[name])
        if not value.is_floating_point():
            assert ours.equal(value), name
        else:
            scale = max(1.0, float(value.abs().max())) if value.numel() else 1.0
            atol = 1e-2 if name == "xy" else tolerance * scale
            torch.testing.assert_close(ours, value, rtol=tolerance, atol=atol)
