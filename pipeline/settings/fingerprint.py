"""Twelve digits by which the same settings, and what was made by them, are known again.

What makes two runs the same is marked at each setting (`hgg.settings`): what it decides, and what it was in
runs made before there was such a setting. The marks are read here and nowhere else.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hgg.settings import NOTHING, Decides, Settings, group_of, mark_of
from pipeline.base.secrets import masked_values
from pipeline.settings.config import RunConfig

FINGERPRINT_DIGITS = 12


def described(settings: Settings, decides: Decides | None = None, but: Decides = NOTHING) -> dict[str, Any]:
    """Settings as JSON values for a fingerprint.

    Left out is what stands at its value of before there was such a setting: what was made then keeps its
    name, and is not made again. Passwords of addresses are masked.

    Args:
        settings: a group of them.
        decides: only settings that decide one of these; None is all.
        but: without those that came later and decide some of these and nothing else.
    """
    if isinstance(settings, RunConfig) and settings.skeleton == "auto":  # as it is taken where it stays open
        settings = settings.model_copy(update={"skeleton": settings.model.skeleton})
    return _marked(type(settings), masked_values(settings.model_dump(mode="json")), decides, but)


def described_groups(config: RunConfig, but: Decides = NOTHING) -> dict[str, Any]:
    """All settings as `described`, without the groups that decide nothing, or nothing but `but`.

    Nor has it settings that came later and decide some of `but` and nothing else, whatever group they are in.
    For what is made of a whole configuration: a row of an ablation, a sweep.
    """
    fields = RunConfig.model_fields
    kept = {name for name in fields if (group := group_of(fields[name])) is None or _decided_by(group) & ~but}
    return {name: value for name, value in described(config, but=but).items() if name in kept}


def fingerprint(values: Settings | Mapping[str, Any]) -> str:
    """12 hexadecimal digits of the SHA-256 of settings, or of any JSON mapping, whatever their order."""
    plain = described(values) if isinstance(values, Settings) else values
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def _marked(
    group: type[Settings], values: Mapping[str, Any], decides: Decides | None, but: Decides
) -> dict[str, Any]:
    """Those of a group's JSON values that `described` keeps; groups of which nothing is left go too."""
    found: dict[str, Any] = {}
    for name, field in group.model_fields.items():
        value, mark, below = values[name], mark_of(field), group_of(field)
        if below is not None:
            value = _marked(below, value, decides, but)
            before = _marked(below, mark.before, decides, but) if mark is not None else {}
            if value in ({}, before):
                continue
        else:
            assert mark is not None, f"{group.__name__}.{name} bears no mark: see hgg.settings.setting"
            decided = decides is None or mark.decides & decides
            # Not those that always were there: names that exist have them.
            passed_over = mark.since and mark.decides and not mark.decides & ~but
            if not decided or passed_over or (mark.since and value == mark.before):
                continue
        found[name] = value
    return found


def _decided_by(group: type[Settings]) -> Decides:
    """What a group's settings decide together."""
    decided = NOTHING
    for field in group.model_fields.values():
        mark, below = mark_of(field), group_of(field)
        decided |= _decided_by(below) if below is not None else mark.decides if mark is not None else NOTHING
    return decided
