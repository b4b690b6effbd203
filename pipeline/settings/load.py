"""From YAML files and `key.sub=value` overrides to one checked `RunConfig`, and back to text.

`pipeline.settings.sources` reads, `pipeline.settings.mistakes` checks. All mistakes are reported at once,
before anything starts.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from pydantic import ValidationError

from hgg.settings import Settings
from hgg.skeleton_file import SkeletonFile, completed, mistakes_in
from pipeline.base.errors import UserError
from pipeline.base.secrets import masked
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.mistakes import Mistake, check
from pipeline.settings.paths import absolute
from pipeline.settings.skeletons import HOW
from pipeline.settings.sources import (
    check_growth,
    in_one_line,
    read_overrides,
    read_yaml,
    shortened,
    with_text_keys,
)

COMMAND_LINE = "command line"

SomeSettings = TypeVar("SomeSettings", bound=Settings)


def load_config(files: Sequence[Path], overrides: Sequence[str] = ()) -> RunConfig:
    """Defaults, then the files in order, then the overrides; relative paths become absolute here.

    Raises `UserError`: its text is one line for one mistake, else a line each under one that counts them.
    """
    sources = {str(path): read_yaml(path) for path in files} | {COMMAND_LINE: read_overrides(overrides)}
    config, mistakes = check(_merge(sources))
    if config is not None and not mistakes:
        return _with_skeleton(absolute(config))
    lines = [shortened(_located(mistake, sources)) for mistake in mistakes]
    if len(lines) > 1:
        lines = [f"{len(lines)} mistakes in the configuration:"] + [f"  {line}" for line in lines]
    raise UserError("\n".join(lines))


def with_given(config: RunConfig, group: str, values: Mapping[str, Any]) -> RunConfig:
    """The settings with those of a group that flags of a command gave; `UserError` as by `load_config`."""
    checked, mistakes = check({group: getattr(config, group).model_dump() | values})
    if checked is None or mistakes:
        raise UserError("; ".join(shortened(mistake.text) for mistake in mistakes))
    return config.model_copy(update={group: getattr(checked, group)})


def print_config(config: Settings) -> str:
    """All settings as YAML, each under its meaning as a comment; `load_config` reads it back as it was.

    But for the passwords of addresses, which are masked.
    """
    return "\n".join(_yaml_lines(without_secrets(config))) + "\n"


def without_secrets(config: SomeSettings) -> SomeSettings:
    """The settings with the passwords of addresses masked, to be written or sent where nobody needs them."""
    updates: dict[str, Any] = {}
    for name in config.__class__.model_fields:
        value = getattr(config, name)
        if isinstance(value, str):
            updates[name] = masked(value)
        elif isinstance(value, Settings):
            updates[name] = without_secrets(value)
    return config.model_copy(update=updates)


def changed(config: RunConfig) -> dict[str, Any]:
    """Dotted keys and values that differ from the defaults, to be written; passwords are masked."""
    defaults = flat(absolute(RunConfig()).model_dump(mode="json"))
    values = flat(without_secrets(config).model_dump(mode="json"))
    return {key: value for key, value in values.items() if key not in defaults or defaults[key] != value}


def _with_skeleton(config: RunConfig) -> RunConfig:
    """The settings with the skeleton itself in the place of its file, so that nobody needs the file again."""
    if not isinstance(config.skeleton, Path):
        return config
    return config.model_copy(update={"skeleton": read_skeleton(config.skeleton)})


def read_skeleton(path: Path) -> SkeletonFile:
    """The skeleton of a file, completed.

    Raises `UserError` where it is none: the file, and each mistake in it.
    """
    if not path.is_file():
        raise UserError(f"skeleton={path}: no such file; {HOW}")
    values = read_yaml(path)
    try:
        return completed(SkeletonFile.model_validate({"name": path.stem} | values))
    except ValidationError as error:
        raise UserError(f"{path}: {'; '.join(mistakes_in(error))}") from None


def _merge(sources: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    with in_one_line(""):
        merged = OmegaConf.merge(*sources.values())
        check_growth(with_text_keys(OmegaConf.to_container(merged, resolve=False)))
        return with_text_keys(OmegaConf.to_container(merged, resolve=True))


def _located(mistake: Mistake, sources: Mapping[str, dict[str, Any]]) -> str:
    """The mistake's text after the file that it is in; the command line is before the user's eyes anyway."""
    places = [place for place, values in sources.items() if mistake.key in flat(values)]
    return mistake.text if not places or places[-1] == COMMAND_LINE else f"{places[-1]}: {mistake.text}"


def _yaml_lines(config: Settings) -> Iterator[str]:
    plain = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Settings):
            yield f"\n# {(type(value).__doc__ or '').splitlines()[0]}\n{name}:"
            yield from (textwrap.indent(line, "  ") for line in _yaml_lines(value))
        else:
            yield textwrap.indent(field.description or "", "# ")
            # A list stays in the setting's own line.
            many = isinstance(plain[name], list)
            yield f"{name}: {plain[name]}" if many else OmegaConf.to_yaml({name: plain[name]}).rstrip()
