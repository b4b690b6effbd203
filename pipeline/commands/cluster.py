"""A Ray cluster of this project's own on this machine, and jobs sent to it; `make cluster`, `make submit`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError, first_line
from pipeline.commands.job import run_command

FOLDER = Path("runs/cluster")


def start(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start it and say where it answers."""
    from pipeline.cluster.local import start_cluster

    if arguments.minutes <= 0 or arguments.cpus < 0:
        raise UserError(
            f"--minutes {arguments.minutes:g} --cpus {arguments.cpus}: minutes above 0, CPUs not below"
        )
    cluster = start_cluster(arguments.folder.absolute(), arguments.minutes, arguments.cpus)
    return {
        "jobs": cluster.address,
        "RAY_ADDRESS": cluster.gcs,
        **cluster.environment(),
        "ends": cluster.ends,
    }


def stop(arguments: argparse.Namespace) -> dict[str, Any]:
    """End it, by its process ids."""
    from pipeline.cluster.local import stop_cluster

    return {"processes_ended": stop_cluster(arguments.folder.absolute())}


def submit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Send a job and follow its log."""
    from pipeline.cluster.submit import submit_job

    client = _client(arguments)
    job_id = submit_job(client, arguments.job, arguments.arguments, Path.cwd())
    print(f"{job_id}: submitted; Ctrl-C stops following, not the job", file=sys.stderr)
    return _followed(client, job_id)


def follow(arguments: argparse.Namespace) -> dict[str, Any]:
    """Follow the log of a job that was sent before."""
    return _followed(_client(arguments), arguments.id)


def cancel(arguments: argparse.Namespace) -> dict[str, Any]:
    """End a job; the same command, sent again, resumes it."""
    client = _client(arguments)
    try:
        return {"job": arguments.id, "stopped": client.stop_job(arguments.id)}
    except RuntimeError as error:
        raise UserError(f"{arguments.id}: {first_line(error)}") from error


def _client(arguments: argparse.Namespace) -> Any:
    from pipeline.cluster.local import check_running
    from pipeline.cluster.submit import job_client

    cluster = check_running(arguments.folder.absolute())
    return job_client(cluster.address, cluster.environment())


def _followed(client: Any, job_id: str) -> dict[str, Any]:
    from pipeline.cluster.submit import follow_job

    if not follow_job(client, job_id):
        raise SystemExit(1)
    return {"job": job_id}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands and what each takes."""
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of state and log; by default {FOLDER}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for function in (start, stop, submit, follow, cancel):
        text = (function.__doc__ or "").splitlines()[0]
        command = commands.add_parser(function.__name__, help=text, description=text)
        command.set_defaults(function=function)
        if function is start:
            command.add_argument("--minutes", type=float, default=240.0, help="after which it ends (240)")
            command.add_argument("--cpus", type=int, default=0, help="that it offers; 0: as the machine has")
        elif function is submit:
            command.add_argument("job", help="a file in jobs/, such as train_joint")
            command.add_argument("arguments", nargs=argparse.REMAINDER, help="the job's own")
        elif function is not stop:
            command.add_argument("id", help="the job's, as submit printed it")


if __name__ == "__main__":
    run_command(name="commands.cluster", description=__doc__ or "", add_arguments=add_arguments)
