"""`make cluster`, `make submit`, `make cluster-stop`: real processes, all of which are gone afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._private.runtime_env.packaging import create_package

from pipeline.cluster import local
from pipeline.cluster.local import processes_of, running_cluster
from pipeline.cluster.submit import NOT_SENT

MOST_SENT_MIB = 24.0  # models of 7.9, 7.9 and 4.6 MB are most of it, and the pictures of the notebook
PATIENCE = 240


def _command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.commands.cluster", "--folder", str(folder), *arguments]


def _run(repository: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # As Ray programs may leave it: of other clusters.
    shell = os.environ | {
        "RAY_AUTH_TOKEN": "of-another-cluster",
        "RAY_ADDRESS": "127.0.0.1:9",
        "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9",
    }
    return subprocess.run(
        _command(folder, *arguments),
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=shell,
    )


def _last(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_cluster_takes_jobs_and_leaves_no_process(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "cluster"
    started = _last(_run(repository, folder, "start", "--minutes", "5", "--cpus", "2"))
    try:
        cluster = running_cluster(folder)
        assert cluster is not None
        assert cluster.address == started["jobs"]
        assert (folder / "token").stat().st_mode & 0o077 == 0
        again = _last(_run(repository, folder, "start"))
        assert again == started

        job = _run(repository, folder, "submit", "synthesize", *_drawn(tmp_path))
        assert _last(job)["job"].startswith("raysubmit_")
        assert '"drawn": true' in job.stdout
        assert (tmp_path / "data" / "annotations" / "person_keypoints_val2017.json").is_file()
        assert "WARNING" not in job.stdout + job.stderr

        wrong = _run(repository, folder, "submit", "synthesize", "data.rooot=x")
        assert wrong.returncode == 1
        assert "data.rooot is not a setting" in wrong.stdout
        unknown = _run(repository, folder, "submit", "trian_joint")
        assert unknown.returncode == 2
        assert "trian_joint: no such job; there are ablate," in unknown.stderr
        _ctrl_c_leaves_the_job(repository, folder, tmp_path)
        # Not by the marker, which some of them lose.
        everyone = psutil.Process(cluster.keeper).children(recursive=True)
    finally:
        ended = _last(_run(repository, folder, "stop"))
    assert ended["processes_ended"] >= len(everyone) > 15
    assert [process for process in everyone if process.is_running()] == []
    assert processes_of(cluster.marker) == []
    assert not Path(cluster.temp).exists()
    assert _last(_run(repository, folder, "stop")) == {"processes_ended": 0}


# Who listens in a local cluster, by the end of the process's title or name, and how each port is kept.
LISTENERS = {
    "gcs_server": "RAY_ADDRESS, which asks for the token",
    "ray.util.client.server": "ray://, which asks for the token",
    "dashboard.py": "the dashboard, which asks for the token, and its metrics",
    "monitor.py": "metrics",
    "raylet": "tasks and objects, which ask for the token",
    "DashboardAgent": "the agent, which asks for the token, and its metrics",
    "RuntimeEnvAgent": "asks for the token",
}


@pytest.mark.slow
def test_every_port_of_a_cluster_is_on_loopback_and_takes_no_work_without_the_token(
    tmp_path: Path, repository: Path
) -> None:
    folder = tmp_path / "cluster"
    started = _last(_run(repository, folder, "start", "--minutes", "5", "--cpus", "1"))
    try:
        cluster = running_cluster(folder)
        assert cluster is not None
        listening = _listening(cluster.marker)
        until = time.monotonic() + PATIENCE
        while "DashboardAgent" not in {name for name, _ in listening} and time.monotonic() < until:
            time.sleep(0.5)
            listening = _listening(cluster.marker)
        assert {name for name, _ in listening} <= LISTENERS.keys()
        assert {host for _, host in listening} <= {"127.0.0.1", "::1"}, listening
        assert _asked(started, {}) == (True, "1")
        others = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "ab" * 32}
        assert _asked(started, others) == (False, "the cluster refuses this job's token")
        nobody = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "", "HOME": str(tmp_path)}
        assert _asked(started, nobody) == (False, "RAY_AUTH_MODE=token, but there is no token")
        lost = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
        assert _asked(started, lost)[1].startswith("RAY_AUTH_MODE=token, but RAY_AUTH_TOKEN_PATH is set")
        off = {"RAY_AUTH_MODE": "disabled"}
        assert _asked(started, off)[1].startswith("the cluster refuses a job without a token")
        for path, code in (("/api/jobs/", 401), ("/api/version", 401)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(cluster.address + path, timeout=30)
            assert refused.value.code == code
            refused.value.close()
    finally:
        _last(_run(repository, folder, "stop"))


ASK = """
from pipeline.base.errors import UserError
from pipeline.cluster.start import start_ray

try:
    with start_ray():
        import ray
        print(ray.get(ray.remote(lambda: 1).remote()))
except UserError as error:
    print(error)
"""


def _asked(started: dict[str, Any], environment: dict[str, str]) -> tuple[bool, str]:
    """Whether a program is let in, as RAY_ADDRESS and the environment say, and what it says."""
    known = {name: str(value) for name, value in started.items() if name.startswith("RAY_")}
    variables = os.environ | known | {"PYTHONWARNINGS": "ignore"} | environment
    kept = {name: value for name, value in variables.items() if value}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=PATIENCE, env=kept
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    address = f"RAY_ADDRESS={started['RAY_ADDRESS']}: "
    return not said.startswith(address), said.removeprefix(address).partition(": ")[0]


def _listening(marker: str) -> set[tuple[str, str]]:
    """Who listens, by the names of LISTENERS where it has one, and at which address."""
    found = set()
    for process in processes_of(marker):
        title = " ".join(process.cmdline()[:6])
        name = next((known for known in LISTENERS if known in title), title)
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((name, connection.laddr.ip.removeprefix("::ffff:")))
    return found


@pytest.mark.slow
def test_a_cluster_ends_by_itself(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "cluster"
    _last(_run(repository, folder, "start", "--minutes", "1", "--cpus", "1"))
    cluster = running_cluster(folder)
    assert cluster is not None
    until = time.monotonic() + PATIENCE
    while processes_of(cluster.marker) and time.monotonic() < until:
        time.sleep(0.5)
    assert processes_of(cluster.marker) == []
    assert "ended after 1 minutes" in (folder / "keeper.log").read_text(encoding="utf-8")
    assert running_cluster(folder) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "pretrain"], "no cluster of this project runs: start one with make cluster"),
        (["follow", "x"], "no cluster of this project runs"),
        (["start", "--minutes", "0"], "--minutes 0 --cpus 0: minutes above 0"),
        (["begin"], "invalid choice: 'begin'"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], message: str, tmp_path: Path, repository: Path) -> None:
    done = _run(repository, tmp_path / "cluster", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_is_sent_with_a_job_is_small(tmp_path: Path, repository: Path) -> None:
    """What `ray job submit --working-dir .` packs: the code, and no data, runs or environments."""
    package = tmp_path / "package.zip"
    create_package(str(repository), package, include_gitignore=True, excludes=NOT_SENT)
    names = zipfile.ZipFile(package).namelist()
    assert "jobs/train_joint.py" in names
    assert not [name for name in names if name.startswith((".venv/", ".git/", "runs/", "data/"))]
    assert package.stat().st_size / 2**20 < MOST_SENT_MIB


def _drawn(folder: Path) -> list[str]:
    return [
        *("--config", "conf/demo.yaml", f"run_root={folder}/runs", f"data.root={folder}/data"),
        *("synthetic.train_images=2", "synthetic.val_images=2"),
    ]


def _ctrl_c_leaves_the_job(repository: Path, folder: Path, tmp_path: Path) -> None:
    arguments = [*_drawn(tmp_path / "second"), "synthetic.train_images=400"]
    follower = subprocess.Popen(
        _command(folder, "submit", "synthesize", *arguments),
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = ""
    with follower:
        assert follower.stdout is not None
        for line in follower.stdout:
            seen += line
            if "drawing 400 pictures" in line:
                follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=PATIENCE) == 130
    job_id = next(word.rstrip(":") for word in seen.split() if word.startswith("raysubmit_"))
    assert f"the job goes on. Its log: make follow ID={job_id}" in seen
    assert _last(_run(repository, folder, "follow", job_id)) == {"job": job_id}


def test_processes_are_known_by_the_marker_alone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"HGG_CLUSTER": "one"}
    )
    try:
        assert [each.pid for each in processes_of("one")] == [process.pid]
        assert processes_of("two") == []
    finally:
        process.communicate(b"\n")
    assert local.processes_of("one") == []
