"""Starting Ray: what the environment says, and what it is given."""

import logging
import os
import time
from pathlib import Path

import pytest
import ray
from ray._private.services import find_gcs_addresses

from pipeline.base.errors import UserError
from pipeline.cluster import start
from pipeline.cluster.resources import room_for, task_options
from pipeline.cluster.start import start_ray
from pipeline.settings.config import TrainConfig

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
