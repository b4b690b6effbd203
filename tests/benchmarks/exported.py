"""How far a model's ONNX file agrees with the model: the figures of docs/export.md.

    python -m tests.benchmarks.exported --data FOLDER [--model docs/models/lite0_hgg.pt] [--split val2017]

On the first 50 photographs: the largest differences of maps, of people by `hgg.load`, and of the graph's own
candidates and members; on the whole split AP. For weights in float32 and in float16.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from hgg.groupings import BLIND
from hgg.model import HGG
from hgg.onnx_file import save_onnx
from hgg.onnx_model import read_model
from hgg.pictures import decode_picture
from hgg.predictor import Predictor
from hgg.weights import load_model
from pipeline.evaluation.evaluate import evaluate_model
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import make_records
from tests.cases.exported import open_file, photograph, run_session

PHOTOGRAPHS = 50


def main() -> None:
    """Print a line for each kind of weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("docs/models/lite0_hgg.pt"))
    parser.add_argument("--split", default="val2017")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    files = sorted((arguments.data / arguments.split).glob("*.jpg"))[:PHOTOGRAPHS]
    with tempfile.TemporaryDirectory() as root:
        paths = {precision: Path(root) / f"{precision}.onnx" for precision in ("float32", "float16")}
        for precision, path in paths.items():
            save_onnx(path, model, half=precision == "float16")
            print(precision, path.stat().st_size, "bytes", _agreement(model, path, files), flush=True)
        config = RunConfig.model_validate({"run_root": root, "data": {"root": arguments.data.resolve()}})
        records = make_records(config, arguments.split)
        print("AP", "pt", _ap(model, records), flush=True)
        for precision, path in paths.items():
            print("AP", precision, _ap(read_model(path), records), flush=True)


def _ap(model: HGG, records: Path) -> dict[str, float]:
    found = evaluate_model(model, records, batch_size=8, groupings=BLIND).ap
    return {name: round(figures["AP"], 4) for name, figures in found.items()}


@torch.no_grad()
def _agreement(model: HGG, path: Path, files: list[Path]) -> dict[str, float]:
    """Largest differences, and numbers of photographs in which something is another one."""
    session, own, read = open_file(path), Predictor(model), Predictor(read_model(path))
    apart: dict[str, float] = dict.fromkeys(("heatmaps", "tags", "visual", "pixels", "scores"), 0.0)
    apart |= dict.fromkeys(("photographs of other people", "of other members", "most found"), 0)
    for file in files:
        picture = decode_picture(file.read_bytes())
        shown = photograph(model, picture)
        found, maps = run_session(session, shown), model(shown["pictures"])
        expected = maps.heatmaps[-1] * shown["inside"], maps.tags[-1], maps.visual
        for name, value in zip(("heatmaps", "tags", "visual"), expected, strict=True):
            apart[name] = max(apart[name], float(np.abs(found[name] - value.numpy()).max()))
        candidates = own.detect([picture]).candidates
        member_N = own.clusters_of(candidates, "hgg").member[0].numpy()
        size = min(len(member_N), found["member"].shape[1])
        apart["of other members"] += not np.array_equal(found["member"][0, :size], member_N[:size])
        apart["most found"] = max(apart["most found"], int(found["found"][0]))
        (mine,), (theirs,) = own.predict([picture]), read.predict([picture])
        if mine.keypoints.shape != theirs.keypoints.shape:
            apart["photographs of other people"] += 1
            continue
        pixels = np.abs(mine.keypoints[..., :2] - theirs.keypoints[..., :2]).max(initial=0)
        apart["pixels"] = max(apart["pixels"], float(pixels))
        apart["scores"] = max(apart["scores"], float(np.abs(mine.score - theirs.score).max(initial=0)))
    return {name: float(f"{value:.3g}") for name, value in apart.items()}


if __name__ == "__main__":
    main()
