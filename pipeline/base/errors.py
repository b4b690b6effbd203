"""What a user is told went wrong."""


class UserError(Exception):
    """A mistake in what the user gave; its text says what, which value, what is allowed, what to do next."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: a scheduler, `ray job stop` or `kill` ends the job, which cleans up as at Ctrl-C."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
