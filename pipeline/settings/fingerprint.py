"""Twelve digits by which the same settings, and what was made by them, are known again."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipeline.settings.studies import TuneConfig

FINGERPRINT_DIGITS = 12
# Settings that runs made before them lack, by the end of their dotted keys, and what they were then.
LATER = {
    "skeleton": "coco",
    "format": "coco",
    "annotations": "",
    "pictures": "",
    "model": "hgg",
    "held_out": 0.0,
    "evaluate.num_workers": 0,
    "tune": TuneConfig().model_dump(mode="json"),
}


def described(settings: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """Settings as JSON values for a fingerprint, without those of `LATER` at their defaults.

    So what was made before there was such a setting keeps its name, and is not made again.
    """
    return _without_later(settings.model_dump(mode="json", exclude=exclude))


def _without_later(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    return {
        key: _without_later(value, f"{above}.{key}") if isinstance(value, dict) else value
        for key, value in values.items()
        if not any(f"{above}.{key}".endswith(f".{end}") and value == then for end, then in LATER.items())
    }


def fingerprint(values: BaseModel | Mapping[str, Any]) -> str:
    """12 hexadecimal digits of the SHA-256 of settings, or of any JSON mapping, whatever their order."""
    plain = described(values) if isinstance(values, BaseModel) else values
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]
