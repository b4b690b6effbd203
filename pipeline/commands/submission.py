"""People of images without annotations, as COCO's evaluation server takes them (test-dev2017)."""

import json
import re
from pathlib import Path
from typing import Any

from hgg.groupings import BlindName
from hgg.pictures import BadPicture, decode_picture
from hgg.predictor import Predictor
from hgg.skeleton import COCO
from pipeline.base.errors import UserError
from pipeline.base.files import sha256_file
from pipeline.base.progress import Progress, chunks
from pipeline.base.provenance import provenance, write_results
from pipeline.evaluation.trained import model_file, trained_model
from pipeline.metrics.detections import Detection, coco_rows, write_detections
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint

INFO_NAME = re.compile(r"image_info_([\w-]+)\.json")


def predict_submission(config: RunConfig, info: Path, pictures: Path, algorithm: BlindName) -> dict[str, Any]:
    """Write person_keypoints_{split}_{algorithm}_results.json and results.json into {outputs}/submission.

    The split is what `info` is named by: image_info_{split}.json.

    Args:
        config: model and how images are shown.
        info: COCO's file of images without annotations.
        pictures: folder of its images.
        algorithm: grouping: the model's own, or AE's greedy one.

    Raises:
        UserError: a file that is not COCO's, pictures that are missing or damaged, or no model.
    """
    if config.joints != COCO:
        raise UserError(
            f"--submission={info}: COCO's server takes COCO's joints, not those of {config.joints.name}"
        )
    name = INFO_NAME.fullmatch(info.name)
    if name is None:
        raise UserError(
            f"--submission={info}: COCO names it image_info_SPLIT.json, as image_info_test-dev2017.json"
        )
    images = _read_images(info, pictures)
    checkpoint = model_file(config)
    model = trained_model(checkpoint, config.model, config.train.use_gpu)
    predictor = Predictor(model, algorithm, config.inference)
    rows = _predict(predictor, images, pictures, config.evaluate.batch_size, config.predict.max_pixels)
    folder = config.outputs / "submission"
    target = folder / f"person_keypoints_{name[1]}_{algorithm}_results.json"
    write_detections(target, rows)
    results = {
        "submission": str(target),
        "images": len(images),
        "people": len(rows),
        "configuration": fingerprint(config),
        "model": str(checkpoint),
        "model_sha256": sha256_file(checkpoint),
        **provenance(),
    }
    write_results(folder, results)
    return results


def _read_images(info: Path, pictures: Path) -> list[dict[str, Any]]:
    """Entries with `id` and `file_name`, whose files are all there."""
    try:
        content = json.loads(info.read_text(encoding="utf-8-sig"))
        images = [
            {"id": int(entry["id"]), "file_name": str(entry["file_name"])} for entry in content["images"]
        ]
    except OSError as error:
        raise UserError(f"--submission={info}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--submission={info}: not COCO's: it needs `images`, each with id and file_name ({error!r})"
        ) from error
    missing = [entry["file_name"] for entry in images if not (pictures / entry["file_name"]).is_file()]
    if missing or not images:
        what = f"{len(missing)} of {len(images)} pictures are not in {pictures}, as {missing[:1]}"
        raise UserError(
            f"--submission={info}: {what if images else 'no image in it'}: name their folder with --pictures"
        )
    return images


def _predict(
    predictor: Predictor, images: list[dict[str, Any]], pictures: Path, batch_size: int, max_pixels: int
) -> list[Detection]:
    rows: list[Detection] = []
    progress = Progress("predict", len(images))
    for batch in chunks(images, batch_size):
        shown = [_decode(pictures / entry["file_name"], max_pixels) for entry in batch]
        for entry, poses in zip(batch, predictor.predict(shown), strict=True):
            rows += coco_rows(entry["id"], poses)
        progress.add(len(batch))
    return rows


def _decode(path: Path, max_pixels: int) -> Any:
    try:
        return decode_picture(path.read_bytes(), max_pixels=max_pixels)
    except BadPicture as error:
        raise UserError(f"{path}: not a whole picture: {error}: unpack it again") from error
