"""What a user is told went wrong."""

from collections.abc import Sequence


class UserError(Exception):
    """A mistake in what the user gave; its text says what, which value, what is allowed, what to do next."""


class Failed(Exception):
    """Work that could not be done with input of the right kind; its text says why. The job ends with 1."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: a scheduler, `ray job stop` or `kill` ends the job, which cleans up as at Ctrl-C."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shortened(text: str, most: int = 30) -> str:
    """A name out of somebody's file, cut where it is longer than names are."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Sequence[str], most: int = 24, longest: int = 30) -> str:
    """Names out of somebody's file, as many and as much of each as a message can hold."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*(shortened(name, longest) for name in names[:most]), *more])
