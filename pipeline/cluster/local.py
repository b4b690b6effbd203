"""A Ray cluster of this project's own on this machine: bounded in time, and ended by its process ids.

A keeper process holds `ray start --head` as its child and ends everything at a signal or when the time is up.
Every process of the cluster inherits HGG_CLUSTER from it, by which they are found, with their children, as
some of Ray's write a title over their environment: those of other clusters of the machine are never touched.
All of its ports are on loopback alone; those that take work ask for the token, those of metrics do not.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline.base.errors import UserError
from pipeline.base.files import write_json, write_text
from pipeline.base.provenance import REPOSITORY
from pipeline.cluster.reach import LOOPBACK
from pipeline.cluster.start import QUIET
from pipeline.settings.paths import ROOT_VARIABLE

MARKER = "HGG_CLUSTER"
STATE, TOKEN, LOG = "cluster.json", "token", "keeper.log"
START_SECONDS = 120.0
# What a process gets to end by itself before it is killed.
GRACE_SECONDS = 10.0
HOST = "127.0.0.1"


class LocalCluster(NamedTuple):
    """A running cluster, as its folder's cluster.json holds it.

    Attributes:
        marker: value of HGG_CLUSTER in its processes' environment.
        keeper: process id of the keeper.
        address: of the dashboard, which takes jobs.
        gcs: host and port that Ray programs connect to (RAY_ADDRESS).
        token: file of the token that both ask for.
        temp: Ray's folder of sockets and logs.
        ends: when it ends by itself, in seconds since 1970.
    """

    marker: str
    keeper: int
    address: str
    gcs: str
    token: str
    temp: str
    ends: float

    def environment(self) -> dict[str, str]:
        """What a program needs to be let in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": self.token, LOOPBACK: "0"}


def running_cluster(folder: Path) -> LocalCluster | None:
    """The cluster of a folder, or None where it has none that runs."""
    cluster = _known(folder)
    return cluster if cluster is not None and processes_of(cluster.marker) else None


def start_cluster(folder: Path, minutes: float, cpus: int) -> LocalCluster:
    """Start a cluster that listens on loopback alone and ends by itself; a running one is returned as it is.

    Args:
        folder: of its state, token and log.
        minutes: after which it ends whatever it is doing.
        cpus: that it offers; 0 is as many as the machine has.

    Raises:
        RuntimeError: it did not come up; the keeper's last lines say why.
    """
    cluster = running_cluster(folder)
    if cluster is not None:
        return cluster
    gcs, dashboard, client, agent = _free_ports(4)
    temp = tempfile.mkdtemp(prefix="hgg-ray-")  # short: the paths of sockets in it must be
    marker = secrets.token_hex(8)
    write_text(folder / TOKEN, secrets.token_hex(32))
    (folder / TOKEN).chmod(0o600)
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"),
        *(f"--node-ip-address={HOST}", f"--port={gcs}", f"--temp-dir={temp}"),
        *("--include-dashboard=true", f"--dashboard-host={HOST}", f"--dashboard-port={dashboard}"),
        *(f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"),
        *([f"--num-cpus={cpus}"] if cpus else []),
    ]
    keeper = _start_keeper(folder, marker, [str(folder), str(60 * minutes), *command])
    cluster = LocalCluster(
        marker=marker,
        keeper=keeper.pid,
        address=f"http://{HOST}:{dashboard}",
        gcs=f"{HOST}:{gcs}",
        token=str(folder / TOKEN),
        temp=temp,
        ends=round(time.time() + 60 * minutes, 1),
    )
    write_json(folder / STATE, cluster._asdict())
    _wait_until_up(cluster, keeper, folder)
    return cluster


def stop_cluster(folder: Path) -> int:
    """End the cluster of a folder, if it runs; returns how many processes it had."""
    cluster = _known(folder)
    if cluster is None:
        return 0
    found = processes_of(cluster.marker)
    keeper = next((process for process in found if process.pid == cluster.keeper), None)
    if keeper is not None:
        keeper.terminate()
        psutil.wait_procs([keeper], timeout=3 * GRACE_SECONDS)
    _end(folder, cluster.marker, cluster.temp)
    return len(found)


def processes_of(marker: str) -> list[psutil.Process]:
    """Every process of this machine with HGG_CLUSTER=marker, and their children; not this one."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == marker:
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.Error:  # another user's, or gone
            continue
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _known(folder: Path) -> LocalCluster | None:
    """What the folder says of its cluster, which may have ended."""
    path = folder / STATE
    return LocalCluster(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _start_keeper(folder: Path, marker: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
    """This file as a process of its own, which outlives the command that starts it."""
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cluster.local", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env=_keeper_environment(marker, folder / TOKEN),
            start_new_session=True,
        )


def _keeper_environment(marker: str, token: Path) -> dict[str, str]:
    """Quiet, protected by the token; jobs run by this `python`, their relative paths below this folder."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), LOOPBACK: "0"}
    return others | QUIET | ray | {MARKER: marker, "PATH": path, ROOT_VARIABLE: str(Path.cwd())}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_up(cluster: LocalCluster, keeper: "subprocess.Popen[bytes]", folder: Path) -> None:
    host, port = cluster.address.removeprefix("http://").split(":")
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and keeper.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    stop_cluster(folder)
    raise RuntimeError("\n".join([f"{folder}: the cluster did not come up; its last lines:", *lines]))


def _keep(folder: Path, seconds: float, command: list[str]) -> None:
    """The keeper: runs the cluster until a signal comes, the time is up, or the cluster ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    temp = next(part.split("=", 1)[1] for part in command if part.startswith("--temp-dir="))
    try:
        subprocess.Popen(command).wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"ended after {seconds / 60:g} minutes, as it was started to", flush=True)
    finally:
        _end(folder, os.environ[MARKER], temp)


def _end(folder: Path, marker: str, temp: str) -> None:
    """End what is left of a cluster, and remove what only served it."""
    left = processes_of(marker)
    for process in left:
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=GRACE_SECONDS)
    # Once more by the marker: a process may have begun meanwhile.
    stubborn = [*stubborn, *processes_of(marker)]
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=GRACE_SECONDS)
    shutil.rmtree(temp, ignore_errors=True)
    for name in (STATE, TOKEN):
        (folder / name).unlink(missing_ok=True)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def check_running(folder: Path) -> LocalCluster:
    """The running cluster of a folder; `UserError` where there is none."""
    cluster = running_cluster(folder)
    if cluster is None:
        raise UserError(f"{folder}: no cluster of this project runs: start one with make cluster")
    return cluster


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
