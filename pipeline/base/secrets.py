"""Text without the secrets of addresses in it: user:password@, and what queries call token, key and so on.

Whatever leaves a process for people to read goes through here: files of results and settings, log lines,
errors, and what MLflow is told. Only who opens a store has the address itself.
"""

import logging
import re
import shlex
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.base.errors import UserError

MASK = "***"
# A password should be percent-encoded, but people write it as it is: so it goes up to the last @ of the part
# of the host or, where that has none, of the whole word, unless it is a port.
USERINFO = re.compile(
    r"""(?P<scheme>[a-z][a-z0-9+.-]*://)
        (?: (?P<user>[^\s:@/?\#"]*): (?: [^\s/?\#"]* | (?!\d{1,5}(?:[/?\#\s"]|$)) [^\s"]* ) @
          | [^\s:@/?\#"]+ @ )""",
    re.IGNORECASE | re.VERBOSE,
)
QUERY = re.compile(
    r"""(?P<name>[?&;\#][^\s=&;"]*(?:pass|pwd|secret|token|key|sig|credential|auth(?!or))[^\s=&;"]*=)
        [^\s&;\#"']+""",
    re.IGNORECASE | re.VERBOSE,
)


def masked(text: str) -> str:
    """The text with `***` for each password and token of an address; other text stays as it is."""
    if "://" not in text:
        return text
    return QUERY.sub(rf"\g<name>{MASK}", USERINFO.sub(_without_password, text))


def masked_command(arguments: Sequence[str]) -> str:
    """A command line as one would type it, `masked`."""
    return shlex.join(masked(argument) for argument in arguments)


def masked_values(value: Any) -> Any:
    """Nested values with every text in them `masked`."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: masked_values(each) for name, each in value.items()}
    return [masked_values(each) for each in value] if isinstance(value, list | tuple) else value


@contextmanager
def masked_errors() -> Iterator[None]:
    """A `with` block whose errors others write down with their causes: one that names a secret is told "
    "without."""
    try:
        yield
    except Exception as error:
        whole = "".join(traceback.format_exception(error))
        if masked(whole) == whole:
            raise
        kind = UserError if isinstance(error, UserError) else RuntimeError
        raise kind(masked(f"{type(error).__name__}: {error}")) from None


class MaskingFormatter(logging.Formatter):
    """Of log lines, tracebacks included: `masked`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return masked(super().format(record))


def log_format() -> MaskingFormatter:
    """How a log line of a job looks."""
    return MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


def _without_password(found: re.Match[str]) -> str:
    """A name stays where a password follows it; alone it is a token as often as a name."""
    user = found["user"]
    return f"{found['scheme']}{MASK}@" if user is None else f"{found['scheme']}{user}:{MASK}@"
