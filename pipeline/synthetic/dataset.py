"""The synthetic data set on disk, in the official COCO layout.

`{root}/{split}/{id}.jpg` and `{root}/annotations/person_keypoints_{split}.json`, beside a
marker `synthetic.json` with the settings that made them. Pictures are written first and the
annotation file last, so a split with an annotation file is complete. A folder without the
marker, or with another one, is left as it is.
"""

import json
import logging
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hgg.settings import Decides
from hgg.skeleton import JOINTS, LIMBS
from pipeline.base.errors import UserError
from pipeline.base.files import atomic_path, write_json
from pipeline.settings.data import SyntheticConfig
from pipeline.settings.fingerprint import described
from pipeline.synthetic.scenes import draw_scene

log = logging.getLogger(__name__)

MARKER = "synthetic.json"
DRAWING = 1  # raised whenever the same settings draw something else
JPEG_QUALITY = 92
FIRST_VAL_ID = 1_000_001  # ids of the two splits never meet, as COCO's
POOL_FROM = 64  # pictures below which starting processes costs more than it saves

Image = dict[str, Any]
Annotation = dict[str, Any]


def make_dataset(
    root: Path, train: str, val: str, settings: SyntheticConfig, processes: int = 2
) -> dict[str, Any]:
    """Draw both splits under `root`, or only what is missing of them.

    Args:
        train: name of the training split, `settings.train_images` pictures.
        val: name of the validation split, `settings.val_images` pictures.
        processes: processes that draw; the result does not depend on it.

    Returns counts by split: images, annotations, people with keypoints, crowds, and whether drawn now.
    Raises `UserError` where `root` holds files that are not this data set's.
    """
    if train == val:
        raise UserError(f"data.train_split and data.val_split are both {train!r}: name two different splits")
    _claim(root, train, val, settings)
    return {
        train: _make_split(root, train, settings.train_images, 1, settings, processes),
        val: _make_split(root, val, settings.val_images, FIRST_VAL_ID, settings, processes),
    }


def _claim(root: Path, train: str, val: str, settings: SyntheticConfig) -> None:
    """Write the marker into a new or empty folder, or compare with the one that is there."""
    wanted = {"drawing": DRAWING, "train": train, "val": val, **described(settings, Decides.PICTURES)}
    marker = root / MARKER
    if not marker.exists():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(
                f"data.root={root} holds files that were not drawn by this command: "
                "name a folder that is empty or does not exist"
            )
        write_json(marker, wanted)
        return
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
        differing = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{marker} is not a marker of this command ({error}): name another data.root"
        ) from error
    if differing:
        pairs = ", ".join(f"{k}={found.get(k)} there, {wanted.get(k)} wanted" for k in differing)
        raise UserError(
            f"data.root={root} holds a data set of other settings ({pairs}): "
            "delete that folder, or name another data.root"
        )


def _make_split(
    root: Path, split: str, count: int, first_id: int, settings: SyntheticConfig, processes: int
) -> dict[str, Any]:
    """Draw a split unless its annotation file and all its pictures are there."""
    file = root / "annotations" / f"person_keypoints_{split}.json"
    names = [_file_name(first_id + k) for k in range(count)]
    if file.exists() and all((root / split / name).exists() for name in names):
        return {**_counts(json.loads(file.read_text(encoding="utf-8"))), "drawn": False}
    file.unlink(missing_ok=True)  # while pictures are being written the split is not complete
    (root / split).mkdir(parents=True, exist_ok=True)
    log.info("drawing %d pictures into %s", count, root / split)
    draw = partial(_write_picture, root / split, split, first_id, settings)
    images: list[Image] = []
    annotations: list[Annotation] = []
    for image, rows in _run(draw, count, processes):
        images.append(image)
        for row in rows:
            annotations.append({**row, "image_id": image["id"], "id": first_id * 10 + len(annotations)})
    content = {**_head(settings), "images": images, "annotations": annotations, "categories": [_category()]}
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    return {**_counts(content), "drawn": True}


def _run(draw: partial[tuple[Image, list[Annotation]]], count: int, processes: int) -> Iterator[Any]:
    """The pictures in order, drawn by several processes where that pays."""
    if processes < 2 or count < POOL_FROM:
        yield from map(draw, range(count))
        return
    # Spawned, not forked: the caller may hold threads.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, range(count), chunksize=16)


def _write_picture(
    folder: Path, split: str, first_id: int, settings: SyntheticConfig, number: int
) -> tuple[Image, list[Annotation]]:
    """Draw and write picture `number`, a function of (seed, split, number) alone."""
    rng = np.random.default_rng((settings.seed, zlib.crc32(split.encode()), number))
    scene = draw_scene(settings, rng)
    name = _file_name(first_id + number)
    ok, data = cv2.imencode(".jpg", scene.image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    assert ok
    (folder / name).write_bytes(data.tobytes())
    height, width = scene.image.shape[:2]
    return (
        {
            "id": first_id + number,
            "file_name": name,
            "width": width,
            "height": height,
            "license": 1,
            "date_captured": "2020-01-01 00:00:00",
            "coco_url": "",
            "flickr_url": "",
        },
        scene.annotations,
    )


def _file_name(image_id: int) -> str:
    return f"{image_id:012d}.jpg"


def _head(settings: SyntheticConfig) -> dict[str, Any]:
    return {
        "info": {
            "description": "Synthetic overlapping people",
            "version": f"{DRAWING}",
            "year": 2020,
            "contributor": f"drawn with seed {settings.seed}",
            "url": "",
            "date_created": "2020/01/01",
        },
        "licenses": [{"id": 1, "name": "Public domain", "url": ""}],
    }


def _category() -> dict[str, Any]:
    """COCO's only category with keypoints; its skeleton counts joints from 1."""
    return {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(JOINTS),
        "skeleton": [[a + 1, b + 1] for a, b in LIMBS],
    }


def _counts(content: dict[str, Any]) -> dict[str, int]:
    annotations = content["annotations"]
    return {
        "images": len(content["images"]),
        "annotations": len(annotations),
        "people": sum(a["num_keypoints"] > 0 for a in annotations),
        "crowds": sum(a["iscrowd"] for a in annotations),
    }
