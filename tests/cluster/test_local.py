"""`make cluster`, `make submit`, `make cluster-stop`: real processes, all of which are gone afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._private.runtime_env.packaging import create_package

from pipeline.cluster import local
from pipeline.cluster.local import processes_of, running_cluster
from pipeline.cluster.submit import NOT_SENT

MOST_SENT_MIB = 15.0  # two models of 4.6 MB are most of it
PATIENCE = 240


def _command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.commands.cluster", "--folder", str(folder), *arguments]


def _run(repository: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    shell = os.environ | {"RAY_AUTH_TOKEN": "of-another-cluster"}  # as Ray programs may leave it
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
