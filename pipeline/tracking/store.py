"""MLflow's store: where it is, whether it answers, and the experiment in it.

By default it is one SQLite file under the run root. MLflow is imported when it is opened.
"""

import fcntl
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.base.errors import UserError, first_line
from pipeline.base.findings import existing_parent, write_probe
from pipeline.base.s3 import in_store
from pipeline.base.secrets import MASK, masked
from pipeline.settings.config import RunConfig
from pipeline.tracking.moved import ARTIFACTS, bring_artifacts_home

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Else a server's addresses are printed among a job's results on stdout.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Else a wrong address is only noticed after four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
}
STORE_VARIABLE = "MLFLOW_TRACKING_URI"
FILE = "mlflow.db"
SQLITE = "sqlite:///"
REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")  # what MLflow makes of 401 and 403

log = logging.getLogger(__name__)


def store_uri(config: RunConfig) -> str:
    """Where runs are kept, as MLflow takes it: with its password, so nothing to be shown (`masked`).

    Raises `UserError` where MLflow cannot keep runs there, or where the password is masked.
    """
    named = _with_password(config.tracking.uri) or os.environ.get(STORE_VARIABLE)
    if not named and in_store(config.run_root):
        raise UserError(
            f"run_root={config.run_root}: MLflow's own file cannot be kept there: set tracking.uri (or "
            f"{STORE_VARIABLE}) to a server, or to sqlite:////a/path of this machine"
        )
    if not named and "?" in str(config.run_root):  # from there on an address of SQLite holds options
        raise UserError(
            f"run_root={config.run_root}: MLflow's own file cannot be kept below a question mark: "
            "give the folder another name, or set tracking.uri"
        )
    return named or _own_file(config)


def _own_file(config: RunConfig) -> str:
    """The store of a run root that names no other."""
    return f"sqlite:///{config.run_root.absolute()}/{FILE}"


def open_store(config: RunConfig) -> "MlflowClient":
    """A client of the store, which is made where it is a file that is not there yet.

    Raises `UserError` where it does not answer.
    """
    return connect(config)[0]


def store_problem(config: RunConfig) -> str | None:
    """One line of what is wrong with the store and what to do, without making anything; None where a job can
    begin.

    That is where it answers whoever asks, its tables are current, and its experiment is there or to be made
    and takes artifacts. A file that is not there yet is none either.
    """
    uri = store_uri(config)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return None
    _quieten()
    from mlflow import MlflowClient

    try:
        with asking(config):
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
            experiment = _find_experiment(client, config)
            # What a run root's own file says of places is put right by the next job.
            if experiment is not None and uri != _own_file(config):
                check_artifacts(config, experiment.artifact_location)
    except UserError as error:
        return str(error)
    except OSError as error:
        return masked(f"tracking.uri={uri}: {first_line(error)}")
    return None


@contextmanager
def asking(config: RunConfig) -> Iterator[None]:
    """A `with` block that asks the store; where that fails, it is a `UserError` with the way out."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = masked(f"tracking.uri={store_uri(config)}: {first_line(error)}")
        if error.error_code in REFUSALS:
            way = (
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) to a "
                f"user's who may write to tracking.experiment={config.tracking.experiment}"
            )
        elif "out-of-date" in text:
            way = "run mlflow db upgrade"
        else:
            way = "start that server, correct tracking.uri, or leave it empty for a file under the run root"
        raise UserError(f"{text}; {way}") from None  # it may name the address with its password


def check_artifacts(config: RunConfig, location: str) -> None:
    """Raise `UserError` where an experiment's artifacts cannot be written: a small file is, and removed."""
    name = f"tracking.experiment={config.tracking.experiment}: its artifacts"
    way = "give whoever starts the job the right to write there, or name another experiment"
    parts = urlsplit(location)
    try:
        if parts.scheme in ("", "file"):
            write_probe(existing_parent(Path(unquote(parts.path)).absolute()), uuid.uuid4().hex).unlink()
        else:
            _write_there(store_uri(config), location)
    except Exception as error:  # whatever the library of some storage comes up with
        text = masked(f"{name} cannot be written to {location}: {first_line(error)}; {way}")
        raise UserError(text) from None


def _write_there(uri: str, location: str) -> None:
    """Write a small file where MLflow writes artifacts, by its own means, and remove it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    artifacts = get_artifact_repository(location, tracking_uri=uri)
    with tempfile.TemporaryDirectory() as folder:
        probe = write_probe(Path(folder), uuid.uuid4().hex)
        artifacts.log_artifact(str(probe))
    try:
        artifacts.delete_artifacts(probe.name)
    except Exception as error:  # it may write, which is what was asked
        log.info(
            "%s/%s: was written to see whether it can be, and stays: %s",
            *(masked(location), probe.name, masked(str(error))),
        )


def _with_password(uri: str) -> str:
    """An address that was masked where it was written, as the environment has it; others as they are."""
    if MASK not in uri or masked(uri) != uri:
        return uri
    known = os.environ.get(STORE_VARIABLE, "")
    if masked(known) != uri:
        raise UserError(
            f"tracking.uri={uri}: {MASK} stands where a password was, which is kept nowhere: give it again "
            f"by tracking.uri=..., or in {STORE_VARIABLE}"
        )
    return known


def _quieten() -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def connect(config: RunConfig) -> "tuple[MlflowClient, str]":
    """The store and the number of the experiment, which is made on first use."""
    _quieten()
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = store_uri(config)
    with asking(config), _alone(config.run_root):
        client = MlflowClient(tracking_uri=uri)
        if uri == _own_file(config):
            bring_artifacts_home(config.run_root.absolute() / FILE)
        return client, _experiment(client, config)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process of a machine at a time: several that create a store at once ruin it."""
    if in_store(folder):
        folder = Path(tempfile.gettempdir()) / "hgg-mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".mlflow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _experiment(client: "MlflowClient", config: RunConfig) -> str:
    """Id of the experiment, which is made on first use; a store of our own keeps artifacts beside it."""
    experiment = _find_experiment(client, config)
    if experiment is not None:
        return experiment.experiment_id
    # A server decides where its artifacts are; of a file, they are beside the run.
    served = store_uri(config).startswith("http")
    beside = in_store(config.run_root) or not config.tracking.uri
    own = (config.run_root.absolute() / ARTIFACTS).as_uri() if beside and not served else None
    return client.create_experiment(config.tracking.experiment, artifact_location=own)


def _find_experiment(client: "MlflowClient", config: RunConfig) -> "Experiment | None":
    """The experiment; None where it is to be made, `UserError` where it was deleted."""
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"tracking.experiment={config.tracking.experiment}: it was deleted: bring it back with `mlflow "
            f"experiments restore --experiment-id {experiment.experiment_id}` (MLFLOW_TRACKING_URI says in "
            "which store), or name another one"
        )
    return experiment
