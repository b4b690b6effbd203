"""What of a large run can be tried on one machine: `python -m tests.benchmarks.scale`, for docs/scaling.md.

A reader with 64 ranks in turn; the manifest of a million shards; what of a validation its ranks do not share;
bytes of a sample and of a gradient at the paper's size; views and samples a second are in
docs/performance.md. A line of JSON each, on stdout.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hgg.config import ModelConfig
from hgg.model import HGG
from pipeline.base.memory import peak_mib
from pipeline.batches.order import Order
from pipeline.batches.reader import SampleReader
from pipeline.data.shards import ShardRow, data_fingerprint, shard_file, stage_folder, write_manifest
from pipeline.evaluation.found import portions
from pipeline.evaluation.people import batches_of
from pipeline.metrics.coco import coco_metrics
from tests.benchmarks.drawn import draw, draw_samples, drawn_config
from tests.benchmarks.scored import scored_crowds
from tests.cases.samples import write_samples

RANKS, BATCH, FILES, FILE_ROWS = 64, 8, 32, 64
VALIDATED = 500  # images, `train.validation_images`
SHARDS, SHARD_GROUPS, SHARD_ROWS = 1_000_000, 8, 32


def main() -> None:
    """Try everything."""
    argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__).parse_args()
    parts: tuple[Callable[[Path], dict[str, Any]], ...] = (
        many_ranks,
        many_shards,
        validation,
        bytes_of_a_sample,
    )
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({"part": part.__name__, **part(Path(folder))}), flush=True)
    print(json.dumps({"part": "gradient", **gradient()}))


def many_ranks(folder: Path) -> dict[str, Any]:
    """An epoch of 64 ranks, one rank after the other: who reads what, and how long a rank takes to begin."""
    rows = write_samples(folder / "samples", [FILE_ROWS] * FILES, row_group=16)
    begun = time.perf_counter()
    ranks = [SampleReader(folder / "samples", BATCH, rank, RANKS) for rank in range(RANKS)]
    opened = (time.perf_counter() - begun) / RANKS
    steps = ranks[0].steps_per_epoch
    read = [
        number for reader in ranks for batch in islice(reader, steps) for number in batch.image_ids.tolist()
    ]
    assert len(set(read)) == len(read) == steps * RANKS * BATCH, "a sample was read twice in an epoch"
    return {
        "ranks": RANKS,
        "batch_of_a_rank": BATCH,
        "samples": rows,
        "read": len(read),
        "files": FILES,
        "ms_to_open_a_reader": round(1000 * opened, 1),
    }


def many_shards(folder: Path) -> dict[str, Any]:
    """Writing and reading the manifest of a million shards, and the first window of an epoch's order."""
    row = ShardRow(
        0, "", SHARD_GROUPS * SHARD_ROWS, 50 << 20, "0" * 64, "0" * 12, {"images": 256, "people": 600}, []
    )
    rows = [row._replace(shard=number, file=shard_file(number)) for number in range(SHARDS)]
    seconds: dict[str, float] = {}
    with _taking("write", seconds):
        write_manifest(folder, "samples", "train2017", {"joints": 17}, rows, {}, [])
    with _taking("read", seconds):
        data_fingerprint(folder)
    with _taking("first_window", seconds):
        next(Order([SHARD_ROWS] * (SHARDS * SHARD_GROUPS), RANKS * BATCH, RANKS).windows(0, 0, 0))
    size = (folder / "manifest.json").stat().st_size
    return {"shards": SHARDS, "manifest_mb": size // 10**6, "seconds": seconds, "peak_mib": int(peak_mib())}


def validation(folder: Path) -> dict[str, Any]:
    """What ranks do not share: each reads past the others' records, rank 0 computes AP."""
    config = drawn_config(folder, synthetic__train_images=VALIDATED)
    draw(config)
    records = stage_folder(config.run_root, "records", config.data.train_split)
    seconds: dict[str, float] = {}
    with _taking("reading_past", seconds):
        read = sum(
            len(batch)
            for portion in portions(records)
            for batch in batches_of(records, portion, config.evaluate.batch_size)
        )
    truth, detections = scored_crowds(VALIDATED, people=5)
    with _taking("ap", seconds):
        coco_metrics(truth, detections)
    return {"images": read, "seconds": seconds}


def bytes_of_a_sample(folder: Path) -> dict[str, Any]:
    """Bytes of a record and of a sample of 512 x 512, of drawn pictures of COCO's size."""
    config = drawn_config(folder, synthetic__train_images=32, data__views=3)
    draw_samples(config)
    found = {}
    for stage in ("records", "samples"):
        path = stage_folder(config.run_root, stage, config.data.train_split)
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        total = sum(shard["bytes"] for shard in manifest["shards"])
        found[f"{stage}_bytes"] = round(total / manifest["counts"]["rows"])
    return found


def gradient() -> dict[str, Any]:
    """Parameters of the paper's model, the bytes that DDP sums a step, and multiplications of the network."""
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        model = HGG(ModelConfig())
        side = model.config.network.input_size
        model.network(torch.empty(1, 3, side, side))
    parameters = sum(weight.numel() for weight in model.parameters())
    giga_macs = round(counted.get_total_flops() / 2e9, 1)
    return {"parameters": parameters, "float32_bytes": 4 * parameters, "giga_macs_forward": giga_macs}


@contextmanager
def _taking(name: str, seconds: dict[str, float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begun, 2)


if __name__ == "__main__":
    main()
