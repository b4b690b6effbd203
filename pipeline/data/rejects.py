"""Bad data of the user's: what is wrong with a picture or an annotation, counted and listed."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hgg.pictures import Unusable
from pipeline.base.errors import UserError
from pipeline.base.files import write_text

FIRST = 3  # that are named in messages
FREQUENT = 3  # reasons named in the message when too many images are bad

REJECTED = "rejected.jsonl"


class BadData(Unusable):
    """An annotation that cannot be used, or a picture that does not go with it.

    A picture that cannot be read is `hgg.pictures.BadPicture`.
    """


class Rejection(NamedTuple):
    """A line of rejected.jsonl: an image that is left out, or an annotation whose image is unknown."""

    image_id: int
    file_name: str
    reason: str
    detail: str


def by_reason(rejections: Iterable[Rejection]) -> dict[str, int]:
    """How many there are for each reason, the most frequent first."""
    counts = Counter(rejection.reason for rejection in rejections)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def list_rejected(path: Path, rejections: Iterable[Rejection]) -> None:
    """Write rejected.jsonl: one JSON object a line, ordered by image."""
    lines = [json.dumps(rejection._asdict()) + "\n" for rejection in sorted(rejections)]
    write_text(path, "".join(lines))


def first_ones(rejections: Sequence[Rejection]) -> str:
    """The first few in words: image, reason, annotation and field of each."""
    words = [
        f"{each.file_name or each.image_id}: {each.reason}: {each.detail}" for each in rejections[:FIRST]
    ]
    return "first: " + "; ".join(words) if words else ""


def check_limit(rejections: list[Rejection], limit: int, path: Path, source: Path) -> None:
    """Stop with `UserError` where more than `limit` are left out; they are listed in `path` first.

    Args:
        limit: `data.max_rejected`.
        path: where rejected.jsonl is written.
        source: annotation file, for the message.
    """
    if len(rejections) <= limit:
        return
    list_rejected(path, rejections)
    frequent = list(by_reason(rejections).items())[:FREQUENT]
    reasons = ", ".join(f"{reason} ({count})" for reason, count in frequent)
    raise UserError(
        f"{source}: {len(rejections)} bad images, more than data.max_rejected={limit}; most often {reasons}. "
        f"{first_ones(sorted(rejections))}. They are listed in {path}: mend them, or raise data.max_rejected "
        "to go on without them"
    )
