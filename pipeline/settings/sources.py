"""YAML files and `key.sub=value` overrides as nested values, and one line for whatever is wrong with them.

OmegaConf reads; it takes `1e-5` as a number, which plain YAML 1.1 takes as text. How large and deep a text is
is looked at before, as a parser that calls itself too often ends the process.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.base.errors import UserError, first_line
from pipeline.settings.keys import flat

DEEPEST = 50  # groups and lists in one another; settings need four
MOST_BYTES = 1 << 20
LONGEST_LINE = 600  # of a mistake, in characters
MAPPING = "not a mapping: write settings as key: value"


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a file, nested. Raises `UserError` in one line that names the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file (--config takes a YAML file, as those in conf/)") from None
    except (OSError, ValueError) as error:  # the latter for what can be no path
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or first_line(error)}") from None
    if len(data) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES} bytes: no file of settings, as those in conf/")
    with in_one_line(str(path)):
        text = data.decode("utf-8")
        _check_depth(text)
        try:
            values = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
        except OSError:  # what OmegaConf raises for a file that holds one number
            values = None
        if not isinstance(values, dict):
            raise UserError(f"{path}: {MAPPING}")
    dotted = next((str(key) for key in values if "." in str(key)), None)
    if dotted is not None:
        text = f"{path}: {dotted}: files nest groups: write {dotted.replace('.', ': {', 1)}: ...}}"
        raise UserError(shortened(text))
    return with_text_keys(values)


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The settings of a command line, nested. Raises `UserError` in one line that names it."""
    wrong = [text for text in overrides if "=" not in text or text.startswith("=")]
    if wrong:
        raise UserError(f"{shortened(', '.join(wrong))}: write settings as key.sub=value, as in data.views=2")
    for text in overrides:
        key, _, value = text.partition("=")
        with in_one_line(text, "not a YAML value"):
            if key.count(".") + key.count("[") >= DEEPEST:
                raise RecursionError
            _check_depth(value)
            OmegaConf.from_dotlist([text])
    with in_one_line(" ".join(overrides)):
        return with_text_keys(OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides))))


def check_growth(values: dict[str, Any]) -> None:
    """Raise `UserError` where interpolations that name one another make a text of more than `MOST_BYTES`.

    A few lines can ask for more memory than there is: each setting twice the one before. Sizes are counted
    from above, by every word beside an interpolation that is the name of a setting.
    """
    texts = {key: value for key, value in flat(values).items() if isinstance(value, str)}
    by_name: dict[str, list[str]] = {}
    for key in texts:
        parts = key.split(".")
        for start in range(len(parts)):  # names may be relative
            by_name.setdefault(".".join(parts[start:]), []).append(key)
    sizes: dict[str, int] = {}

    def size(key: str) -> int:
        if key not in sizes:
            sizes[key] = 0  # in a circle, which OmegaConf names
            words = re.findall(r"[\w.]+", texts[key]) if "${" in texts[key] else []
            named = [other for word in words for other in by_name.get(word.lstrip("."), []) if other != key]
            sizes[key] = min(2 * MOST_BYTES, len(texts[key]) + sum(map(size, named)))
        return sizes[key]

    for key in texts:
        if size(key) > MOST_BYTES:
            raise UserError(f"{key}: its interpolations make more than {MOST_BYTES} characters of it")


def with_text_keys(values: Any) -> dict[str, Any]:
    """YAML also knows keys that are numbers or truth values; as settings they are only unknown names."""
    assert isinstance(values, dict)
    return {str(k): with_text_keys(v) if isinstance(v, dict) else v for k, v in values.items()}


def shortened(line: str) -> str:
    """A mistake as one line, without the middle of a value that is longer than one reads."""
    line = "\\n".join(line.splitlines())
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


@contextmanager
def in_one_line(place: str, fault: str = "not YAML") -> Iterator[None]:
    """A `with` block of YAML's and OmegaConf's work: what they raise is the user's mistake, in one line.

    Args:
        place: file, setting or override, which the line begins with.
        fault: what a text is that cannot be read.
    """
    try:
        yield
    except OmegaConfBaseException as error:
        key = error.full_key or place
        where = "" if key == place else f"{place}: " if fault == "not YAML" and place else ""
        raise UserError(shortened(f"{where}{key}: {first_line(error)}")) from None
    except RecursionError:
        text = f"{place}: more than {DEEPEST} groups or lists in one another"
        raise UserError(shortened(text)) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(shortened(f"{place}: {fault}: {_yaml_problem(error)}")) from None


def _check_depth(text: str) -> None:
    """Raise `RecursionError` where groups and lists are too deep in one another; this parser is flat."""
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # as OmegaConf
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError


def _yaml_problem(error: Exception) -> str:
    """One line: what is wrong and, where YAML tells it, in which line."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or first_line(error)
    return what if mark is None else f"line {mark.line + 1}: {what}"
