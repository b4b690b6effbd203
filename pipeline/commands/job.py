"""What every command of `jobs/` shares: arguments, log lines, exit codes and the last line on stdout.

Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM (`kill`, `ray job stop`, a
scheduler).
"""

import argparse
import errno
import json
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pipeline.base.errors import Failed, Terminated, UserError, first_line
from pipeline.base.memory import ask_for_large_pages
from pipeline.base.progress import TerminalHandler
from pipeline.base.secrets import log_format, masked, masked_values
from pipeline.settings.config import RunConfig

DONE, FAILED, BAD_INPUT, STOPPED, TERMINATED = 0, 1, 2, 130, 128 + signal.SIGTERM
FULL_DISK = re.compile(rf"\[Errno {errno.ENOSPC}\][^:\n]*(: '(?P<path>[^'\n]*)')?")

SETTING = re.compile(r"[a-z_]+(\.\w+)*=")

READS_ANNOTATIONS = ("preprocess", "doctor", "inspect")
"""Jobs that look at annotation files themselves, and not at what preprocessing made of them."""

PIPELINE_PACKAGES = ("ray", "mlflow", "pyarrow", "pycocotools", "optuna", "matplotlib", "psutil")
"""What the extra `pipeline` brings, by the names of their modules."""

Main = Callable[[RunConfig, argparse.Namespace], dict[str, Any]]


class _Parser(argparse.ArgumentParser):
    """Argparse whose complaints are one line, as all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, masked(f"error: {message} (see {self.prog} --help)\n"))


def run_job(
    main: Main,
    *,
    name: str,
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    sources: str = "",
) -> NoReturn:
    """Run a job as a process: read the configuration, call `main`, print its results, exit.

    `main` gets the configuration and the parsed arguments and returns what becomes the last line on stdout,
    as one line of JSON. `UserError` ends with exit code 2 and its text on stderr; any other exception
    with 1 and the traceback. `sources` says what files and folders a job takes beside settings, by default
    none; they become `arguments.sources`.
    """
    ask_for_large_pages()
    parser = _parser(name, description, sources)
    if add_arguments is not None:
        add_arguments(parser)
    _exit_with(_run, main, name in READS_ANNOTATIONS, parser.parse_intermixed_args())


def run_command(
    *, name: str, description: str, add_arguments: Callable[[argparse.ArgumentParser], None]
) -> NoReturn:
    """Run a module of `pipeline` that takes no settings, with the manners of a job.

    `add_arguments` gives each of its commands a `function`, which takes the arguments and returns results.
    """
    parser = _Parser(prog=f"python -m pipeline.{name}", description=description)
    add_arguments(parser)
    arguments = parser.parse_args()
    _exit_with(_print_results, arguments.function, arguments)


def _exit_with(run: Callable[..., int], *arguments: Any) -> NoReturn:
    """End the process with what `run` returns, or with what it raises made a line and an exit code."""
    _set_up_logging()
    terminated = _heed_sigterm()
    try:
        sys.exit(run(*arguments))
    except KeyboardInterrupt:
        if terminated.is_set():  # what is raised may be another one: Ray raises its own
            print("stopped by SIGTERM; the same command goes on", file=sys.stderr)
            sys.exit(TERMINATED)
        print("stopped", file=sys.stderr)
        sys.exit(STOPPED)
    except Exception as error:
        # Ray hands on what a task raised as an error that is a UserError too and holds the original.
        if isinstance(error, UserError):
            print(masked(f"error: {getattr(error, 'cause', error)}"), file=sys.stderr)
            sys.exit(BAD_INPUT)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            text = (
                f"{error.filename}: longer than the disk takes: choose a shorter run_root, trial or data.root"
            )
            print(masked(f"error: {text}"), file=sys.stderr)
            sys.exit(BAD_INPUT)
        if isinstance(error, Failed):
            print(masked(f"error: {error}"), file=sys.stderr)
            sys.exit(FAILED)
        missing = _missing_package(error)
        if missing is not None:
            print(f"error: {missing}", file=sys.stderr)
            sys.exit(BAD_INPUT)
        outside = _outside(error)
        if outside is not None:
            print(masked(f"error: {outside}"), file=sys.stderr)
        else:
            print(masked(traceback.format_exc()), end="", file=sys.stderr)
        sys.exit(FAILED)


def _heed_sigterm() -> threading.Event:
    """Have SIGTERM end this process as Ctrl-C does, cleaning up; the next one is ignored meanwhile.

    Returns what is set when it came.
    """
    job, terminated = os.getpid(), threading.Event()

    def terminate(number: int, _frame: Any) -> None:
        if os.getpid() != job:  # a process that was forked from it
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        signal.signal(number, signal.SIG_IGN)
        terminated.set()
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    return terminated


def _missing_package(error: Exception) -> str | None:
    """What to say where a package of the pipeline is not installed, which prediction alone does without."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    package = (error.name or "").partition(".")[0]
    if package not in PIPELINE_PACKAGES:
        return None
    return f"{package} is not installed, which this needs: pip install 'hgg[pipeline]'"


def _outside(error: BaseException | None) -> str | None:
    """What to say where an error, or one that it came from, is a full disk's or a store's; else None."""
    while error is not None:
        text = str(error)
        # What a task of Ray raised may only be found in the text of Ray's own error.
        full = FULL_DISK.search(text)
        if full or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
            where = f"{full['path']}: " if full and full["path"] else ""
            return (
                f"{where}no room left on the disk: free some, and the same command goes on; what was written "
                "before is whole"
            )
        if isinstance(error, OSError) and "AWS Error" in text:
            return (
                f"{first_line(error)}: AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY say where the store is and who asks"
            )
        error = getattr(error, "cause", None) or error.__cause__
    return None


def _run(main: Main, anew: bool, arguments: argparse.Namespace) -> int:
    # Imported here so that --help answers at once.
    from pipeline.data.skeletons import settled
    from pipeline.settings.load import load_config, print_config

    if arguments.takes_sources:
        arguments.sources, arguments.overrides = told_apart(arguments.overrides)
    config = load_config(arguments.config, arguments.overrides)
    if arguments.print_config:
        print(print_config(config), end="")
        return DONE
    config = settled(config, anew=anew)
    return _print_results(main, config, arguments)


def _print_results(main: Callable[..., dict[str, Any]], *arguments: Any) -> int:
    print(json.dumps(masked_values(main(*arguments)), allow_nan=False), flush=True)
    return DONE


def told_apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Files and folders, and settings: what reads as key.sub=value is one, unless a file is called so."""
    settings = [word for word in words if SETTING.match(word) and not Path(word).exists()]
    return [word for word in words if word not in settings], settings


def _parser(name: str, description: str, sources: str) -> argparse.ArgumentParser:
    groups = ", ".join(RunConfig.model_fields)
    parser = _Parser(
        prog=_called(name),
        description=description,
        epilog=f"Settings: {groups}. --print-config lists each with its meaning and value.",
    )
    setting = "a setting, over those of the files"
    parser.set_defaults(takes_sources=bool(sources))
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SOURCE | key.sub=value" if sources else "key.sub=value",
        help=f"{sources}; or {setting}" if sources else setting,
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="YAML file of settings that differ from the defaults; may be repeated, the last one wins",
    )
    parser.add_argument("--print-config", action="store_true", help="print all settings as YAML, and stop")
    return parser


def _called(name: str) -> str:
    """How the job was called: by its file, or as a sub-command of `hgg` (`pipeline.commands.main`)."""
    return sys.argv[0] if sys.argv[0].startswith("hgg ") else f"python jobs/{name}.py"


def _set_up_logging() -> None:
    """Our log lines from INFO on and those of dependencies from WARNING on, to stderr."""
    handler = TerminalHandler() if sys.stderr.isatty() else logging.StreamHandler()
    handler.setFormatter(log_format())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("hgg", "pipeline", "jobs"):
        logging.getLogger(ours).setLevel(logging.INFO)
