"""An untrained model and noisy pictures of which it finds much, for tests of reports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hgg.pictures import encode_jpeg
from hgg.weights import save_model
from pipeline.data.formats import annotation_file
from pipeline.settings.config import RunConfig
from pipeline.training.history import COLUMNS, add_to_history, begin_history
from tests.cases.core import tiny_model
from tests.cases.evaluation import HEIGHT, WIDTH, make_records, write_coco

ONE, TWO, NEAR = [(20.0, 20.0)], [(30.0, 40.0), (120.0, 30.0)], [(50.0, 30.0), (75.0, 40.0)]
WICKED = "<script>alert('a')<!-- & \"b\" @BODY@.jpg"
"""A name that must stay a name."""


def reported_config(root: Path, images: int = 5, grain: int = 16, **evaluate: Any) -> RunConfig:
    """A run root with records, a model and what its training left; the first picture has a wicked name.

    Args:
        root: a folder.
        images: how many pictures.
        grain: pixels of the squares that a picture is made of.
        evaluate: settings of the group.
    """
    write_coco(root / "data", "val2017", [(ONE, [], TWO, NEAR)[number % 4] for number in range(images)])
    for number, path in enumerate(sorted((root / "data" / "val2017").iterdir())):
        size = -(-HEIGHT // grain), -(-WIDTH // grain), 3
        noise = np.random.default_rng(number).integers(0, 256, size, np.uint8)
        picture = noise.repeat(grain, axis=0).repeat(grain, axis=1)[:HEIGHT, :WIDTH]
        path.write_bytes(encode_jpeg(picture, 95))
    (root / "data" / "val2017" / "1.jpg").rename(root / "data" / "val2017" / WICKED)
    model = _model(0)
    values: dict[str, Any] = {
        "run_root": root / "run",
        "data": {"root": root / "data", "shard_images": 3},
        "evaluate": {"batch_size": 3, "pictures": 0, "runtime_images": 2, **evaluate},
        **model.config.model_dump(),
    }
    config = RunConfig.model_validate(values)
    annotations = annotation_file(config.data, "val2017")
    text = annotations.read_text(encoding="utf-8")
    annotations.write_text(text.replace('"1.jpg"', json.dumps(WICKED)), encoding="utf-8")
    make_records(config, "val2017")
    for stage in ("pretrain", "joint"):
        _write_history(config.run_root / stage / "metrics.csv", grouping=stage == "joint")
    save_model(config.run_root / "joint" / "best.pt", model)
    return config


def trial_of(config: RunConfig, trial: str, seed: int) -> RunConfig:
    """Another trial of a run root, with a model of another seed."""
    made = config.model_copy(update={"trial": trial})
    (made.outputs / "joint").mkdir(parents=True)
    save_model(made.outputs / "joint" / "best.pt", _model(seed))
    return made


def _model(seed: int) -> Any:
    model = tiny_model(seed, candidates={"threshold": 0.02})
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if name.endswith("head.weight"):
                weight *= 3  # else tags are so alike that all is one person
    return model


def _write_history(path: Path, grouping: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    begin_history(path, 0)
    for step in (10, 20, 30):
        row: dict[str, float | None] = dict.fromkeys(COLUMNS[1:], 1 / step)
        row |= {"step": float(step)} | ({} if grouping else {"edge": 0.0, "macro": 0.0})
        add_to_history(path, row if step == 30 else row | {"ap": None, "ap_ae": None})
