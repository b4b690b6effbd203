"""The mistakes in a configuration, all of them, each with what is allowed or the nearest valid key."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from hgg.settings import MOST_INTEGER, Settings, group_of
from pipeline.base.s3 import SCHEME
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.paths import path_problem

LEAST_LIKENESS = 0.6  # of two dotted keys, below which a suggestion would only confuse


class Mistake(NamedTuple):
    """A dotted key (empty for what several groups combine to) and a line that names and explains it."""

    key: str
    text: str


def check(values: Mapping[str, Any]) -> tuple[RunConfig | None, list[Mistake]]:
    """The configuration that nested `values` make, None where they make none, and every mistake in them."""
    known, mistakes = _sort_out(values, RunConfig)
    config, more = _validate(known)
    named = {mistake.key for mistake in mistakes}
    return config, mistakes + [mistake for mistake in more if mistake.key not in named]


def _sort_out(
    values: Mapping[str, Any], group: type[Settings], prefix: str = ""
) -> tuple[dict[str, Any], list[Mistake]]:
    """What pydantic may judge, and the mistakes that it would not see or not name well."""
    known: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for name, value in values.items():
        key, field = f"{prefix}{name}", group.model_fields.get(name)
        if field is None:
            mistakes += [
                Mistake(each, f"{each} is not a setting: {_suggestion(each)}") for each in flat({key: value})
            ]
        elif (below := group_of(field)) is None:
            known[name] = value
            if problem := _misfit(field, value):
                mistakes.append(Mistake(key, f"{key}={value}: {problem}"))
        elif isinstance(value, dict):
            known[name], more = _sort_out(value, below, key + ".")
            mistakes += more
        elif value is not None:  # commenting out all that is in a group leaves None
            some = next(iter(below.model_fields))
            mistakes.append(
                Mistake(key, f"{key}={value}: is a group: set what is in it, as {key}.{some}=...")
            )
    return known, mistakes


def _misfit(field: FieldInfo, value: Any) -> str:
    """What is wrong with a value that pydantic would silently take for something else, or nothing."""
    truths = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, bool)]
    if truths and field.annotation in (int, float, tuple[float, ...], tuple[float, float]):
        return "must be a number, not true or false"
    numbers = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]
    if any(abs(each) > MOST_INTEGER for each in numbers):
        return f"must be between -{MOST_INTEGER} and {MOST_INTEGER}"
    uri = isinstance(value, str) and "://" in value and not value.startswith(SCHEME)
    if uri and field.annotation in (Path, Path | None):
        return f"must be a path or {SCHEME}bucket/folder"
    if isinstance(value, str) and field.annotation in (Path, Path | None):
        return path_problem(value)
    return ""


def _validate(values: dict[str, Any]) -> tuple[RunConfig | None, list[Mistake]]:
    try:
        return RunConfig.model_validate(values), []
    except ValidationError as error:
        problems = error.errors()
    mistakes = [_named(problem) for problem in problems]
    # A wrong value hides what others combine to: look again without it, but leave out the combinations that
    # name it (as `key=`, or `group.`), as they would be judged with its default.
    wrong = [problem["loc"] for problem in problems if problem["loc"]]
    if wrong:
        _, again = _validate(_without(values, wrong))
        named = [f"{_path(location)[-1]}{mark}" for location in wrong for mark in "=."]
        mistakes += [
            each for each in again if each not in mistakes and not any(n in each.text for n in named)
        ]
    return None, mistakes


def _named(problem: Any) -> Mistake:
    """One of pydantic's errors as key, value and what is allowed."""
    path, text = _path(problem["loc"]), problem["msg"].removeprefix("Value error, ")
    key = ".".join(path)
    if problem["type"] == "value_error":
        return Mistake(key, f"{key}: {text}" if key else text)
    inside = "".join(f"[{part}]" for part in problem["loc"][len(path) :])
    return Mistake(key, f"{key}{inside}={problem['input']}: {text[0].lower()}{text[1:]}")


def _path(location: Sequence[int | str]) -> list[str]:
    """The setting that a location is in: what comes before the first place of a list."""
    return [str(part) for part in takewhile(lambda part: isinstance(part, str), location)]


def _without(values: Mapping[str, Any], locations: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    """Nested values without those at the locations; a list goes as a whole."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        below = [location[1:] for location in locations if location[0] == name]
        if not below:
            kept[name] = value
        elif isinstance(value, dict) and () not in below:
            kept[name] = _without(value, below)
    return kept


def _suggestion(key: str) -> str:
    """The likeliest settings for an unknown key; the last part counts twice."""
    group, _, last = key.rpartition(".")
    scores: dict[str, float] = {}
    for name in _names(RunConfig):
        its_group, _, its_last = name.rpartition(".")
        scores[name] = (2 * _likeness(last, its_last) + _likeness(group, its_group)) / 3
    best = max(scores.values())
    if best < LEAST_LIKENESS:
        return "--print-config lists all settings"
    return f"did you mean {' or '.join(name for name, score in scores.items() if score == best)}?"


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _names(group: type[Settings], prefix: str = "") -> Iterator[str]:
    """Dotted keys of all settings and groups."""
    for name, field in group.model_fields.items():
        yield prefix + name
        if (below := group_of(field)) is not None:
            yield from _names(below, f"{prefix}{name}.")
