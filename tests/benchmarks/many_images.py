"""A data set of very many very small images, and preprocessing of it as a job."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.drawn import REPOSITORY
from tests.cases.tiny_coco import TinyCoco, jpeg

PICTURES = 50  # different ones; every file is a link to one of them
WIDTH, HEIGHT = 64, 48
SETTINGS = {"network.input_size": 64, "data.views": 0, "data.sigma": 1.0, "data.shard_images": 500}
BOUND_SECONDS = 600


def preprocess_many(folder: Path, images: int) -> dict[str, float]:
    """Memory in MiB of tasks and driver, and seconds, of preprocessing so many images as training split."""
    root = folder / "data"
    for split, count in (("train2017", images), ("val2017", 10)):
        _write(root, split, count)
    values = SETTINGS | {"run_root": folder / "run", "data.root": root}
    settings = [f"{name}={value}" for name, value in values.items()]
    command = [sys.executable, str(REPOSITORY / "jobs" / "preprocess.py"), *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND_SECONDS)
    results = json.loads(done.stdout.splitlines()[-1])
    stages = results["splits"]["train2017"].values()
    assert all(stage["counts"]["rows"] == images for stage in stages)
    return {
        "task_mib": max(stage["task_peak_mib"] for stage in stages),
        "driver_mib": results["driver_peak_mib"],
        "seconds": results["seconds"],
    }


def _write(root: Path, split: str, count: int) -> None:
    coco = TinyCoco()
    for number in range(PICTURES):
        (root / "pictures").mkdir(parents=True, exist_ok=True)
        (root / "pictures" / f"{number}.jpg").write_bytes(jpeg(WIDTH, HEIGHT, number))
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for number in range(count):
        name = f"{number:012d}.jpg"
        coco.images.append({"id": number + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        coco.add_person(number + 1)
        os.link(root / "pictures" / f"{number % PICTURES}.jpg", root / split / name)
    path = root / "annotations" / f"person_keypoints_{split}.json"
    path.write_text(json.dumps(coco.document()), encoding="utf-8")
