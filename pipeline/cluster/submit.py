"""Jobs sent to a Ray cluster: this repository as working directory, the log followed until the job ends."""

import asyncio
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.errors import UserError, first_line
from pipeline.base.provenance import REPOSITORY, provenance
from pipeline.base.secrets import masked
from pipeline.cluster.start import QUIET
from pipeline.settings.paths import ROOT_VARIABLE

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
OTHER_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
PATIENCE_SECONDS = 60.0  # until a cluster that has just started takes jobs
NOT_SENT = ["/.git/", "/.venv/"]  # beside what .gitignore names
LEFT = "{0}: no longer followed; the job goes on. Its log: make follow ID={0}; to end it: make cancel ID={0}"


def job_client(address: str, environment: Mapping[str, str]) -> "JobSubmissionClient":
    """A client of the cluster whose dashboard is at `address`.

    Args:
        address: such as http://127.0.0.1:8265.
        environment: variables that Ray's authentication reads, set here before Ray is imported.

    Raises:
        UserError: nothing answers there, or it refuses the token.
    """
    # With Ray's own list of folders that are left out it would warn of each; submit_job names them instead.
    for name in OTHER_ADDRESSES:
        os.environ.pop(name, None)  # Ray would rather take it than the one that it is given
    os.environ.update(QUIET | dict(environment) | {"RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES": ""})
    if TOKEN_PATH in environment:
        os.environ.pop("RAY_AUTH_TOKEN", None)  # that of another cluster, which Ray would rather take
    from ray.job_submission import JobSubmissionClient

    for chatty in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return JobSubmissionClient(address)
        except (ConnectionError, RuntimeError) as error:
            if time.monotonic() > until:
                raise UserError(f"{address}: no cluster takes jobs there: {first_line(error)}") from error
            time.sleep(0.5)


def submit_job(client: "JobSubmissionClient", job: str, arguments: Sequence[str], root: Path) -> str:
    """Send `python jobs/{job}.py arguments` and return the job's id.

    Args:
        client: of the cluster.
        job: name of a file in jobs/.
        arguments: of the command line.
        root: folder that relative paths of the settings are below (HGG_ROOT), on every machine.

    Raises:
        UserError: there is no such job, or an argument holds a password.
    """
    jobs = sorted(path.stem for path in (REPOSITORY / "jobs").glob("*.py"))
    if job not in jobs:
        raise UserError(f"{job}: no such job; there are {', '.join(jobs)}")
    for argument in arguments:
        if masked(argument) != argument:
            raise UserError(
                f"{masked(argument)}: Ray shows everybody a job's command: set the address in a variable "
                "where the cluster is started, and name that, as tracking.uri='${oc.env:MLFLOW_TRACKING_URI}'"
            )
    variables = {ROOT_VARIABLE: str(root), "HGG_COMMIT": provenance()["commit"]}
    return client.submit_job(
        entrypoint=shlex.join(["python", f"jobs/{job}.py", *arguments]),
        runtime_env={"working_dir": str(REPOSITORY), "excludes": NOT_SENT, "env_vars": variables},
    )


def follow_job(client: "JobSubmissionClient", job_id: str) -> bool:
    """Print a job's log as it grows, until it ends; returns whether it succeeded.

    Ctrl-C ends the following and not the job, and says so.
    """

    async def print_log() -> None:
        async for lines in client.tail_job_logs(job_id):
            print(lines, end="", flush=True)

    try:
        asyncio.run(print_log())
    except RuntimeError as error:
        raise UserError(f"{job_id}: {first_line(error)}") from error
    except KeyboardInterrupt:
        print(f"\n{LEFT.format(job_id)}", file=sys.stderr)
        raise
    status = client.get_job_status(job_id)
    print(f"{job_id}: {status.lower()}", file=sys.stderr)
    return status == "SUCCEEDED"
