"""Starting Ray: what the environment says, and what it is given."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from ray._private.services import find_gcs_addresses

from pipeline.base.errors import UserError
from pipeline.cluster import start
from pipeline.cluster.check import check_cluster
from pipeline.cluster.resources import room_for, task_options
from pipeline.cluster.start import start_ray
from pipeline.cluster.submit import submit_job
from pipeline.settings.config import RunConfig, TrainConfig

TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto"])
def test_an_address_where_nothing_answers_is_named_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if address == "auto" and find_gcs_addresses():
        pytest.skip("a Ray cluster runs on this machine already")
    monkeypatch.setenv("RAY_ADDRESS", address)
    begun = time.monotonic()
    with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: no cluster answers there"), start_ray():
        pass
    assert time.monotonic() - begun < 30


@contextmanager
def _silent_server() -> Iterator[str]:
    """Takes connections and says nothing; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"  # the backlog takes them


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_stays_silent_is_named_in_seconds(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _silent_server() as server:
        monkeypatch.setenv("RAY_ADDRESS", f"{scheme}{server}")
        begun = time.monotonic()
        with pytest.raises(UserError, match="takes connections, but no cluster answers there"), start_ray():
            pass
        assert time.monotonic() - begun < 30
        (finding,) = check_cluster(RunConfig())
        assert finding.level == "fail"
        assert "no cluster answers there within 10 seconds" in finding.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "here", "a:b:c", "127.0.0.1:70000", "ray://a"])
def test_an_address_of_another_form_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: write host:port, ray://"), start_ray():
        pass


@pytest.mark.slow
def test_a_cluster_of_a_job_listens_on_loopback_alone(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTEN], capture_output=True, text=True, timeout=240, cwd=repository
    )
    assert done.returncode == 0, done.stderr
    hosts = set(done.stdout.split())
    assert hosts <= {"127.0.0.1", "::1"}, done.stdout
    assert hosts


LISTEN = """
import time
import psutil
from pipeline.cluster.start import start_ray

with start_ray():
    time.sleep(10)  # until the last of Ray's processes listens
    for process in psutil.Process().children(recursive=True):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                print(connection.laddr.ip.removeprefix("::ffff:"))
"""


def test_a_password_in_a_command_is_not_sent_to_ray() -> None:
    with pytest.raises(UserError, match=r"http://u:\*\*\*@h: Ray shows everybody a job's command") as caught:
        submit_job(None, "pretrain", ["tracking.uri=http://u:s3cret@h"], Path.cwd())  # pyrefly: ignore
    assert "s3cret" not in str(caught.value)


def test_a_token_is_brought_in_the_environment_and_not_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    start._bring_a_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert list(home.iterdir()) == []


def test_a_token_that_the_user_has_is_left_alone(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("mine")
    start._bring_a_token()
    assert not any(name in os.environ for name in TOKENS)


def test_workers_find_this_project_once(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    for _ in range(2):
        start._let_workers_import_this()
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(repository), "elsewhere"])


def _offers(monkeypatch: pytest.MonkeyPatch, **resources: float) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (TrainConfig(num_workers=0, cpus_per_worker=1), 8),
        (TrainConfig(num_workers=2, cpus_per_worker=1.5), 2),
        (TrainConfig(num_workers=1, cpus_per_worker=1, use_gpu=True), 1),
    ],
)
def test_as_many_trainings_at_a_time_as_the_scarcest_resource_is_enough_for(
    options: TrainConfig, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offers(monkeypatch, CPU=8.0, GPU=1.0)
    assert room_for(options) == room


def test_a_cluster_too_small_is_named_and_one_that_grows_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = TrainConfig(num_workers=3, cpus_per_worker=1, use_gpu=True)
    _offers(monkeypatch, CPU=2.0)
    monkeypatch.delenv("HGG_AUTOSCALED", raising=False)
    with pytest.raises(
        UserError, match="num_workers=3: needs 3 CPUs, 3 GPUs, the Ray cluster has 2 CPUs, 0 GPUs"
    ):
        room_for(options)
    monkeypatch.setenv("HGG_AUTOSCALED", "1")
    with caplog.at_level(logging.INFO):
        assert room_for(options) == 1
    assert "waiting for machines: 3 CPUs, 3 GPUs are asked for, 2 CPUs, 0 GPUs are there" in caplog.text


def test_a_task_holds_nothing_that_its_workers_need() -> None:
    alone = TrainConfig(num_workers=0, cpus_per_worker=2, use_gpu=True)
    assert task_options(alone) == {"num_cpus": 2, "num_gpus": 1, "max_retries": 0}
    waits = TrainConfig(num_workers=2, cpus_per_worker=2, use_gpu=True)
    assert task_options(waits) == {"num_cpus": 0, "num_gpus": 0, "max_retries": 0}
