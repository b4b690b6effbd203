"""A model that sees the truth in whatever order it is shown the pictures, and the pictures for it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hgg.config import ModelConfig
from hgg.maps import Maps
from hgg.pictures import encode_jpeg
from pipeline.data.shards import read_records
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import HEIGHT, WIDTH, PerfectModel, make_records, write_coco

IMAGES, GREY_STEP = 13, 15
ONE, TWO, NEAR = [(20.0, 20.0)], [(30.0, 40.0), (120.0, 30.0)], [(50.0, 30.0), (75.0, 40.0)]


def seen_config(root: Path) -> RunConfig:
    """Settings of a run with records of 13 grey pictures in three shards, each of a grey of its own."""
    config = RunConfig.model_validate(
        {
            "run_root": root / "run",
            "data": {"root": root / "data", "shard_images": 5},
            "network": {"input_size": 128, "stacks": 1, "channels": 8, "increase": 0, "depth": 2},
            "evaluate": {"batch_size": 2},
        }
    )
    if not (root / "data").exists():
        split = config.data.val_split
        write_coco(root / "data", split, [(ONE, [], TWO, NEAR)[number % 4] for number in range(IMAGES)])
        for number in range(IMAGES):
            grey = np.full((HEIGHT, WIDTH, 3), GREY_STEP * (number + 1), np.uint8)
            (root / "data" / split / f"{number + 1}.jpg").write_bytes(encode_jpeg(grey, 95))
        make_records(config, split)
    return config


class SeeingModel(PerfectModel):
    """Knows a picture by its grey. Each third picture's heatmaps have lost a part, so that AP is below 1.

    `clearness`, which heatmaps are multiplied by, stands for statistics of normalisation.
    """

    def __init__(self, config: ModelConfig, records: Path, clearness: float = 1.0) -> None:
        super().__init__(config, records, sigma=1.0)
        self.known = [*read_records(records)]
        self.records = iter(self.known)  # which a moving average can copy
        self.clearness: Tensor
        self.register_buffer("clearness", torch.tensor(clearness))

    def forward(self, images_B3HW: Tensor) -> Maps:
        """The truth of these pictures."""
        greys = [round(255 * image.max().item() / GREY_STEP) - 1 for image in images_B3HW]
        maps = [self._maps(self.known[grey]) for grey in greys]
        heatmaps, tags = (torch.from_numpy(np.stack(part))[None] for part in zip(*maps, strict=True))
        lost = torch.tensor([grey % 3 == 0 for grey in greys])
        heatmaps[:, lost, 5:, :, :] = 0
        side = self.config.network.output_size
        visual = torch.zeros(len(greys), self.config.network.visual_dim, side, side)
        return Maps(heatmaps * self.clearness, tags, visual)
