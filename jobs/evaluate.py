"""Find the people of the validation split and score AE, HGG and the oracle from one forward pass."""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.command import provenance, run_job, write_results
from pipeline.config import RunConfig


def main(config: RunConfig, _arguments: argparse.Namespace) -> dict[str, Any]:
    """Write result files, pictures and results.json under {run_root}/evaluate, and print the table."""
    from pipeline.coco import annotation_file
    from pipeline.detections import table, write_detections
    from pipeline.evaluate import evaluate_model
    from pipeline.files import sha256_file, write_text
    from pipeline.pictures import Gallery
    from pipeline.settings import fingerprint, print_config
    from pipeline.shards import data_fingerprint, stage_folder
    from pipeline.trained import model_file, trained_model

    split = config.data.val_split
    checkpoint = model_file(config)
    records = stage_folder(config.run_root, "records", split)
    data = data_fingerprint(records)
    model = trained_model(checkpoint, config.model, config.train.use_gpu)
    gallery = Gallery(config.evaluate.pictures)
    found = evaluate_model(
        model,
        records,
        annotation_file(config.data.root, split),
        batch_size=config.evaluate.batch_size,
        limit=config.evaluate.images,
        gallery=gallery,
    )
    folder = config.run_root / "evaluate"
    write_text(folder / "config.yaml", print_config(config))
    for grouping, rows in found.detections.items():
        write_detections(folder / f"detections_{grouping}.json", rows)
    gallery.draw(folder / "pictures")
    results = provenance() | {
        "configuration": fingerprint(config),
        "data": data,
        "split": split,
        "model": {"file": str(checkpoint), "sha256": sha256_file(checkpoint)},
        "counts": found.counts,
        "ap": found.ap,
    }
    write_results(folder, results)
    print(table(found.ap))
    return results


if __name__ == "__main__":
    run_job(main, name="evaluate", description=__doc__ or "")
