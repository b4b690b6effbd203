"""What happens to jobs on real clusters: killed workers and machines, stopped jobs, full disks.

Each goes on, or is started again by the same command, and ends with the undisturbed run's weights to the last
bit, every step once. What is killed is a process of the test's own, found among the job's children.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from pipeline.settings.load import print_config
from pipeline.training.history import read_history
from pipeline.training.stage import plan_stage
from tests.cases.full_disk import fill
from tests.cases.training import tiny_run

SECONDS = 240
STEPS, LOG_EVERY = 80, 10


class Run:
    """Pretraining of a tiny network by two workers, a checkpoint every five steps."""

    def __init__(self, root: Path, repository: Path, **train: Any) -> None:
        config = tiny_run(root, **{"num_workers": 2, "cpus_per_worker": 0.5, "validation_images": 0} | train)
        often = {"steps": STEPS, "log_every": LOG_EVERY, "checkpoint_every": 5, "validate_every": STEPS}
        self.config = config.model_copy(update={"pretrain": config.pretrain.model_copy(update=often)})
        self.root = root
        self.log = root / "job.log"
        self.repository = repository
        (root / "config.yaml").write_text(print_config(self.config))
        self.stage = plan_stage(self.config, "pretrain")

    @property
    def arguments(self) -> list[str]:
        return ["--config", str(self.root / "config.yaml")]

    def start(self, *overrides: str, **environment: str) -> "subprocess.Popen[bytes]":
        script = str(self.repository / "jobs" / "pretrain.py")
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, script, *self.arguments, *overrides],
                cwd=self.root,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
            )

    def finish(self, *overrides: str, **environment: str) -> None:
        assert wait(self.start(*overrides, **environment)) == 0, self.log.read_text()

    def wait_for_a_checkpoint(self, alive: Callable[[], bool]) -> None:
        snapshot = self.stage.folder / "checkpoints" / self.stage.name / "checkpoint_manager_snapshot.json"
        until(snapshot.exists, alive, self.log)

    def weights(self) -> dict[str, torch.Tensor]:
        return torch.load(self.stage.folder / "last.pt", weights_only=True)["model"]

    def steps(self) -> list[float | None]:
        return [row["step"] for row in read_history(self.stage.folder / "metrics.csv")]

    def resumed(self) -> bool:
        return "resuming at step" in (self.stage.folder / "train.log").read_text()


def until(condition: Callable[[], bool], alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert alive(), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def wait(job: "subprocess.Popen[bytes]") -> int:
    try:
        return job.wait(SECONDS)
    finally:
        job.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Run:
    """The run that nothing happens to."""
    run = Run(tmp_path_factory.mktemp("undisturbed"), repository)
    run.finish()
    return run


def assert_same_end(run: Run, undisturbed: Run) -> None:
    assert run.steps() == undisturbed.steps() == [*range(LOG_EVERY, STEPS + 1, LOG_EVERY)]
    ours, theirs = run.weights(), undisturbed.weights()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.slow
def test_a_killed_worker_is_started_again_within_the_run(
    undisturbed: Run, tmp_path: Path, repository: Path
) -> None:
    run = Run(tmp_path, repository)
    job = run.start()
    try:
        run.wait_for_a_checkpoint(lambda: job.poll() is None)
        worker = next(each for each in _ray_workers(job.pid))
        worker.send_signal(signal.SIGKILL)
    finally:
        code = wait(job)
    assert code == 0, run.log.read_text()
    assert run.resumed()
    assert_same_end(run, undisturbed)


def _ray_workers(pid: int) -> Iterator[psutil.Process]:
    """Ray's processes that train, among the children of a job."""
    for process in psutil.Process(pid).children(recursive=True):
        if "RayTrainWorker" in " ".join(process.cmdline()):
            yield process


@pytest.mark.slow
def test_a_machine_that_fails_is_done_without_until_another_comes(
    undisturbed: Run, tmp_path: Path, repository: Path
) -> None:
    run = Run(tmp_path, repository, cpus_per_worker=1.0)
    alone = {
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": str(repository),
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    }
    with (tmp_path / "cluster.log").open("w") as log:
        cluster = subprocess.Popen(
            [sys.executable, str(repository / "tests" / "cases" / "two_nodes.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | alone,
        )  # fmt: skip
    with cluster:  # whose end closes its input, which ends the nodes
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        assert address, (tmp_path / "cluster.log").read_text()
        job = run.start(RAY_ADDRESS=address, **alone)
        try:
            run.wait_for_a_checkpoint(lambda: job.poll() is None)
            for word in ("kill", "add"):
                cluster.stdin.write(f"{word}\n")
                cluster.stdin.flush()
                assert cluster.stdout.readline() == "done\n"
        finally:
            code = wait(job)
        assert code == 0, run.log.read_text()
    assert run.resumed()
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_a_stopped_job_goes_on_when_it_is_submitted_again(
    undisturbed: Run, tmp_path: Path, repository: Path
) -> None:
    run = Run(tmp_path, repository)

    def cluster(*words: str) -> list[str]:
        folder = str(tmp_path / "cluster")
        return [sys.executable, "-m", "pipeline.commands.cluster", "--folder", folder, *words]

    def call(*words: str) -> None:
        done = subprocess.run(
            cluster(*words), cwd=repository, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr

    call("start", "--minutes", "8", "--cpus", "2")
    try:
        with run.log.open("w") as log:
            first = subprocess.Popen(
                cluster("submit", "pretrain", *run.arguments), cwd=repository, stdout=log, stderr=log
            )
        try:
            run.wait_for_a_checkpoint(lambda: first.poll() is None)
            call("cancel", run.log.read_text().split(":")[0])
        finally:
            assert wait(first) == 1, run.log.read_text()
        assert not (run.stage.folder / "results.json").exists()
        call("submit", "pretrain", *run.arguments)
    finally:
        call("stop")
    assert run.resumed()
    assert_same_end(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_workers_goes_on_with_the_same_batches(
    before: int, after: int, undisturbed: Run, tmp_path: Path, repository: Path
) -> None:
    run = Run(tmp_path, repository, num_workers=before)
    job = run.start()
    try:
        run.wait_for_a_checkpoint(lambda: job.poll() is None)
    finally:
        job.kill()
        job.wait()
    run.finish(f"train.num_workers={after}")
    assert f"of {STEPS}, {after} process" in run.log.read_text()
    assert f": {before} before: a step's images stay the same 4" in run.log.read_text()
    assert run.steps() == undisturbed.steps()
    rows, theirs = (read_history(each.stage.folder / "metrics.csv") for each in (run, undisturbed))
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in theirs], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_fills_up_leaves_the_last_checkpoint(
    workers: int,
    undisturbed: Run,
    tmp_path: Path,
    repository: Path,
    small_disk: Callable[[Path, int], Path],
) -> None:
    run = Run(tmp_path, repository, num_workers=workers, max_failures=0)
    disk = small_disk(run.stage.folder / "checkpoints", 60)
    job = run.start()
    try:
        until(
            lambda: any(disk.glob("*/index.json")) or any(disk.glob("*/checkpoint_manager_snapshot.json")),
            lambda: job.poll() is None,
            run.log,
        )
        filler = fill(disk)
    finally:
        code = wait(job)
    assert code == 1, run.log.read_text()
    said = run.log.read_text().splitlines()
    assert "no room left on the disk: free some, and the same command goes on" in said[-1]
    assert not any("Traceback" in line for line in said), run.log.read_text()
    assert {path.name for path in disk.rglob(".*")} <= {".validate_storage_marker"}  # Ray's own

    filler.unlink()
    run.finish()
    assert run.resumed()
    assert run.steps() == undisturbed.steps()
    if workers:
        assert_same_end(run, undisturbed)
    assert json.loads((run.stage.folder / "results.json").read_text())["steps"] == STEPS
