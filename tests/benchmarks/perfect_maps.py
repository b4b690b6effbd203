"""AP of maps without a mistake, by how fine they are: what a finer output could add to a detector at most.

    python -m tests.benchmarks.perfect_maps --data FOLDER [--split val2017] [--cells 64 128]

A picture of 256 pixels has 64 cells at a stride of 4, and 128 at a stride of 2.
"""

import argparse
import tempfile
from pathlib import Path

from hgg.config import NUM_STRIDE, ModelConfig
from pipeline.evaluation.evaluate import evaluate_model
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import PerfectModel, make_records

SHAPES = {"stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 0}


def main() -> None:
    """Print a line for each number of cells."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--cells", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        config = RunConfig.model_validate({"run_root": root, "data": {"root": arguments.data.resolve()}})
        records = make_records(config, arguments.split)
        for cells in arguments.cells:
            network = {"input_size": NUM_STRIDE * cells} | SHAPES
            model = PerfectModel(ModelConfig.model_validate({"network": network}), records)
            found = evaluate_model(model, records, batch_size=4, groupings=("ae", "oracle")).ap
            print(cells, {name: round(figures["AP"], 4) for name, figures in found.items()}, flush=True)


if __name__ == "__main__":
    main()
