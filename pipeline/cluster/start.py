"""Start Ray for one job: the cluster named by RAY_ADDRESS, or a quiet one of this machine's own."""

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pipeline.base.errors import UserError, first_line
from pipeline.base.provenance import REPOSITORY, command_line
from pipeline.base.secrets import masked
from pipeline.cluster.reach import ADVICE, check_reachable, is_on_loopback_alone, on_loopback

TOKEN_FILE = Path(".ray") / "auth_token"  # where Ray keeps a user's token, under the home folder
TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
QUIET = {
    # A report of a checkpoint waits for the controller's next poll; Ray's default is 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Else everything that a worker prints appears twice.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # The watcher writes an error line at each start. Where machines are reclaimed it is needed: set it to 1.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Workers stay in the driver's folder, so that relative paths mean the same there.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def start_ray(cpus: int = 0) -> Iterator[None]:
    """Connect to Ray for the length of a `with` block.

    With RAY_ADDRESS set (`ray job submit` sets it) that cluster is used and only disconnected from at the
    end. Else a cluster of this machine is started, and ended with the block. Where Ray runs already in this
    process, it is used and left running.

    Args:
        cpus: CPUs that the job must have at once. A local cluster offers at least that many, however few the
            machine has, since a job that waits for more than there are would wait for ever.

    Raises:
        UserError: nothing answers at RAY_ADDRESS, or its token is another one.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray  # after the settings above, some of which it reads when it is imported

    if ray.is_initialized():
        yield
        return
    _hide_passwords()
    address = os.environ.get("RAY_ADDRESS")
    with _same_end_at_sigterm():
        if address:
            _connect(address)
        else:
            _start_local(cpus)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _same_end_at_sigterm() -> Iterator[None]:
    """Leave SIGTERM to the job, if it heeds it: Ray's own answer skips what the job has to clean up."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _hide_passwords() -> None:
    """Mask the passwords of this process's command line, which Ray tells the whole cluster."""
    import ray._raylet

    if any(masked(argument) != argument for argument in sys.argv):
        ray._raylet.setproctitle(  # pyrefly: ignore[missing-attribute]  # compiled
            command_line()
        )


def _start_local(cpus: int) -> None:
    """A cluster of this machine, whose ports are on loopback alone, most of them for this job's token."""
    import ray

    _bring_a_token()
    _let_workers_import_this()
    with on_loopback():
        ray.init(
            address="local",
            num_cpus=cpus if cpus > (os.cpu_count() or 1) else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )


def _bring_a_token() -> None:
    """Give a local cluster a token in the environment.

    Ray protects local clusters by a token and, where it finds none, writes one into the home folder. From
    then on `ray start` protects its clusters with that file too, and turns away jobs that do not name it.
    """
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if not named and not (Path.home() / TOKEN_FILE).exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray announces at WARNING that it is protected, unless RAY_AUTH_MODE says so before Ray is imported.
    logging.getLogger(TOKEN_LOGGER).setLevel(logging.ERROR)


def _let_workers_import_this() -> None:
    """Put this project on the workers' path: of the driver's path they get the script's folder alone."""
    root = str(REPOSITORY)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])


def _connect(address: str) -> None:
    """Connect to the cluster at `address`, in seconds or not at all."""
    import ray

    check_reachable(address)
    alone = is_on_loopback_alone(address)
    try:
        with on_loopback() if alone else nullcontext():
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ray.exceptions.AuthenticationError, OSError, RuntimeError) as error:
        raise UserError(f"RAY_ADDRESS={address}: {first_line(error)}; {ADVICE}") from error
