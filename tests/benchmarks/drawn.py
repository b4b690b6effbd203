"""Drawn pictures as records and samples on disk, for benchmarks of what reads and trains on them."""

import shutil
from pathlib import Path
from typing import Any

from pipeline.data.shards import ShardRow, samples_manifest, shard_file, stage_folder, write_manifest
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config
from pipeline.synthetic.dataset import make_dataset
from tests.cases.evaluation import make_records, make_samples

REPOSITORY = Path(__file__).parents[2]
SMALL = REPOSITORY / "conf" / "small.yaml"
# Pictures of COCO's size with people as large as its; views are augmented as for COCO (AE's ranges).
PICTURES = {"synthetic.size_min": 512, "synthetic.size_max": 640, "synthetic.empty_share": 0.0}
PEOPLE = {"synthetic.height_min": 150, "synthetic.height_max": 450}


def drawn_config(root: Path, *files: Path, **settings: Any) -> RunConfig:
    """Settings of the files and then of `settings` (dots as `__`), with everything under `root`."""
    values: dict[str, Any] = {"run_root": root / "run", "data.root": root / "data", "synthetic.val_images": 1}
    values |= PICTURES | PEOPLE | {name.replace("__", "."): value for name, value in settings.items()}
    return load_config([*files], [f"{name}={value}" for name, value in values.items()])


def draw(config: RunConfig) -> None:
    """The pictures and their records."""
    make_dataset(config.data.root, config.data.train_split, config.data.val_split, config.synthetic)
    make_records(config, config.data.train_split)


def draw_samples(config: RunConfig) -> None:
    """The pictures, their records and their samples."""
    draw(config)
    make_samples(config, config.data.train_split)


def repeat_samples(config: RunConfig, times: int) -> None:
    """The drawn samples so many times over, as shards of their own: many row groups, soon drawn."""
    folder = stage_folder(config.run_root, "samples", config.data.train_split)
    manifest = samples_manifest(folder)
    shards = []
    for number in range(times * len(manifest.shards)):
        row = manifest.shards[number % len(manifest.shards)]
        if row["file"] != shard_file(number):
            shutil.copy(folder / row["file"], folder / shard_file(number))
        shards.append(ShardRow(**row | {"shard": number, "file": shard_file(number), "rejected": []}))
    write_manifest(folder, "samples", manifest.split, manifest.settings, shards, {}, [])
