"""The truth that AP is computed from: the people that preprocessing kept, beside each shard of records.

Records hold what training needs. AP needs more of the people that are ignored, and all digits, so a shard of
records has a file beside it with the same images in COCO's layout. The annotation file is not read again.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.files import write_text
from pipeline.base.s3 import sizes_below

VERSION = 1  # raised whenever the same records' people are written otherwise, so that they are written again
CATEGORY = {"id": 1, "name": "person"}
AGAIN = "run jobs/preprocess.py with the configuration that it was made with"


def truth_file(folder: Path, shard: int) -> Path:
    """Where the truth of a shard of records is kept."""
    return folder / f"truth-{shard:05d}.json"


@dataclass
class Truth:
    """What is collected of the images of a shard."""

    images: list[dict[str, Any]] = field(default_factory=list)
    """`id`, `width`, `height` and, where the annotation file has it, `crowdIndex` of each."""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    """COCO's fields of each person; those of an image in the annotation file's order, which decides between
    equals where AP matches."""

    def add(self, record: dict[str, Any], facts: dict[str, Any], people: list[dict[str, Any]]) -> None:
        """Add an image.

        Args:
            record: its row of records.
            facts: `coco_file.CocoImage.truth`.
            people: `annotations.Labelled.truth`.
        """
        image = {"id": record["image_id"], "width": record["width"], "height": record["height"]}
        if "crowdIndex" in facts:
            image["crowdIndex"] = facts["crowdIndex"]
        self.images.append(image)
        order = facts.get("order", range(len(people)))
        for _, person in sorted(zip(order, people, strict=True), key=lambda placed: placed[0]):
            self.annotations.append({"image_id": record["image_id"], **person})


def write_truth(folder: Path, shard: int, made_from: str, truth: Truth) -> None:
    """Write the truth of a shard, whole or not at all.

    Args:
        folder: of records.
        shard: its number.
        made_from: fingerprint of what it was made from.
        truth: of its images.
    """
    found = asdict(truth)
    kept = {"made_from": made_from, "sha256": _sha256(found), **found}
    write_text(truth_file(folder, shard), json.dumps(kept, separators=(",", ":"), allow_nan=False) + "\n")


def stands(folder: Path, shard: int, made_from: str) -> bool:
    """Whether a shard has its truth, made from the same."""
    try:
        return _read(truth_file(folder, shard))["made_from"] == made_from
    except (FileNotFoundError, UserError):  # never written, or damaged
        return False


def check_truth(folder: Path, shards: Iterable[int]) -> None:
    """Raise `UserError` where one of some shards has no truth, as those made before there was such a file."""
    size_of = sizes_below(folder)
    for path in (truth_file(folder, shard) for shard in shards):
        if size_of(path) is None:
            raise UserError(_missing(path))


def read_truth(folder: Path, shards: Iterable[int]) -> dict[str, Any]:
    """The truth of some shards as a COCO annotation file holds it: people numbered from 1, of one category.

    Args:
        folder: of records.
        shards: their numbers.

    Raises `UserError` where a shard has none, as before there was such a file, or a damaged one.
    """
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [CATEGORY]}
    for shard in shards:
        path = truth_file(folder, shard)
        try:
            kept = _read(path)
        except FileNotFoundError:
            raise UserError(_missing(path)) from None
        document["images"] += kept["images"]
        document["annotations"] += kept["annotations"]
    for number, person in enumerate(document["annotations"], 1):
        person |= {"id": number, "category_id": CATEGORY["id"]}
    return document


def _missing(path: Path) -> str:
    return (
        f"{path}: no such file; AP is computed from it, and records made before 2026-11-28 have none: "
        f"{AGAIN}; it writes the same records again, and samples and trained models stay"
    )


def _read(path: Path) -> dict[str, Any]:
    """What `write_truth` wrote; `UserError` where it is not that any more."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        whole = kept["sha256"] == _sha256({name: kept[name] for name in ("images", "annotations")})
    except (ValueError, KeyError, TypeError, RecursionError):
        whole, kept = False, {}
    if not whole:
        raise UserError(f"{path}: damaged, it is not what was written: remove it and {AGAIN}")
    return kept


def _sha256(truth: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(truth, sort_keys=True, allow_nan=False).encode()).hexdigest()
