"""What the setting `skeleton` takes."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hgg.skeleton_file import SkeletonFile, completed, mistakes_in

NAMED = ("auto", "coco", "crowdpose")
HOW = f"skeleton takes {', '.join(NAMED)}, or a YAML file (docs/skeletons.md)"


def as_given(value: Any) -> Any:
    """A setting's value as a name, a file's path or a skeleton that is written out, completed.

    Raises `ValueError` where it is none of these.
    """
    if isinstance(value, dict):
        try:
            return completed(SkeletonFile.model_validate(value))
        except ValidationError as error:
            raise ValueError("; ".join(mistakes_in(error))) from None
    if isinstance(value, SkeletonFile):
        return completed(value)
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r}: {HOW}")
    return value if value in NAMED else Path(value)
