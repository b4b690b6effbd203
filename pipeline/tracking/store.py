"""MLflow's store: where it is, whether it answers, and the experiment in it.

By default it is one SQLite file under the run root. MLflow is imported when it is opened.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.errors import UserError, first_line
from pipeline.base.s3 import in_store
from pipeline.settings.config import RunConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Else a server's addresses are printed among a job's results on stdout.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Else a wrong address is only noticed after four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
}
STORE_VARIABLE = "MLFLOW_TRACKING_URI"


def store_uri(config: RunConfig) -> str:
    """Where runs are kept, as MLflow takes it."""
    named = config.tracking.uri or os.environ.get(STORE_VARIABLE)
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
    return named or f"sqlite:///{config.run_root.absolute()}/mlflow.db"


def open_store(config: RunConfig) -> "MlflowClient":
    """A client of the store, which is made where it is a file that is not there yet.

    Raises `UserError` where it does not answer.
    """
    return connect(config)[0]


def store_problem(config: RunConfig) -> str | None:
    """One line of what is wrong with the store; None where it answers and its tables are current."""
    _quieten()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(tracking_uri=store_uri(config)).search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        return first_line(error)
    return None


def _quieten() -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def connect(config: RunConfig) -> "tuple[MlflowClient, str]":
    """The store and the number of the experiment, which is made on first use."""
    _quieten()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = store_uri(config)
    try:
        with _alone(config.run_root):
            client = MlflowClient(tracking_uri=uri)
            return client, _experiment(client, config)
    except MlflowException as error:
        raise UserError(
            f"tracking.uri={uri}: {first_line(error)}; start that server, correct tracking.uri, or "
            "leave it empty for a file under the run root"
        ) from error


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
    name = config.tracking.experiment
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    # A server decides where its artifacts are; of a file, they are beside the run.
    served = store_uri(config).startswith("http")
    beside = in_store(config.run_root) or not config.tracking.uri
    own = (config.run_root.absolute() / "mlartifacts").as_uri() if beside and not served else None
    return client.create_experiment(name, artifact_location=own)
