"""Nested values as one mapping of dotted keys, and back."""

from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as one mapping of dotted keys."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        result |= flat(value, key + ".") if isinstance(value, dict) and value else {key: value}
    return result


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as groups."""
    groups: dict[str, Any] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        inner = groups
        for part in path:
            inner = inner.setdefault(part, {})
        inner[name] = value
    return groups
