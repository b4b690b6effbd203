"""Ten training steps of tiny fixed models on generated input; their losses go to tests/golden/.

losses.json is of the paper's network, losses_encoder.json of an encoder of transformers in its place.

    python tests/make_golden.py

`test_golden.py` repeats the steps. Run this again only when the method is meant to give other figures, and
say in the commit why.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hgg.config import LossConfig
from hgg.objective import Objective, Terms
from tests.cases.core import make_images, make_targets, tiny_model
from tests.cases.encoders import encoder_settings

FOLDER = Path(__file__).resolve().parent / "golden"
# What is set of each file's network.
NETWORKS: dict[str, dict[str, Any]] = {"losses.json": {}, "losses_encoder.json": encoder_settings("resnet")}
STEPS = 10


def golden_losses(network: dict[str, Any]) -> dict[str, list[float]]:
    """Every loss term at each step of joint training: two batches in turn, first by itself, then taught.

    Without dropout, whose random numbers depend on how torch was built, and with a cut at which an
    untrained discriminator merges.
    """
    loss = LossConfig(push=0.1, pull=0.05, edge=0.01, macro=0.01, heatmap_foreground_weight=30.0)
    model = tiny_model(grouping={"dropout": 0.0, "cut": 0.45}, network=network)
    objective = Objective(model, loss, joint=True).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    batches = [(make_images(3, seed), make_targets([0, 2, 4], seed)) for seed in (0, 1)]
    rows = []
    for step in range(STEPS):
        terms = objective(*batches[step % 2], teacher_share=float(step >= STEPS // 2))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
        rows.append([term.item() for term in terms])
    return {name: list(column) for name, column in zip(Terms._fields, zip(*rows, strict=True), strict=True)}


def main() -> None:
    """Write the files, a line for each term."""
    torch.set_num_threads(1)
    for file, network in NETWORKS.items():
        lines = [
            f'  "{name}": {json.dumps([float(f"{value:.7g}") for value in row])}'
            for name, row in golden_losses(network).items()
        ]
        (FOLDER / file).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
