"""The endpoint's command: who may ask, and what is served when a registered model moves."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hgg.weights import save_model
from pipeline.base.errors import UserError
from pipeline.cluster import start
from pipeline.commands import serve
from pipeline.serving import on_ray
from pipeline.settings.config import RunConfig
from pipeline.settings.load import with_given
from tests.cases.core import tiny_model


def _config(**given: Any) -> RunConfig:
    return RunConfig.model_validate({"serve": {"poll_seconds": 0.01, **given}})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "hgg-1-aaaa.pt", tiny_model())
    return tmp_path / "hgg-1-aaaa.pt"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "somewhere.example"])
def test_others_than_this_machine_need_a_token(
    host: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HGG_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"choose a token and set HGG_TOKEN to it"):
        serve.run_endpoint(_config(host=host), model, [])


def test_a_taken_port_is_one_line() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"serve\.port={port}: .*: choose another"):
            on_ray.Endpoint(_config(port=port), "")


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--port", "99999", "serve.port=99999: input should be less than or equal to 65535"),
        ("--port", "-1", "serve.port=-1: input should be greater than or equal to 0"),
        ("--host", "", "serve.host=: string should have at least 1 character"),
    ],
)
def test_flags_are_checked_as_settings_are(
    repository: Path, model: Path, flag: str, value: str, message: str
) -> None:
    job = [sys.executable, str(repository / "jobs" / "serve.py"), "--model", str(model)]
    done = subprocess.run([*job, f"{flag}={value}"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_flags_leave_the_other_settings() -> None:
    config = with_given(_config(port=1, batch_size=3), "serve", {"port": 2})
    assert config == _config(port=2, batch_size=3)


class _Endpoint:
    """Notes what it is to show, and ends the job at the second."""

    address = "http://127.0.0.1:1/"
    shown: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, config: RunConfig, token: str) -> None:
        _Endpoint.shown = []

    def __enter__(self) -> "_Endpoint":
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, plan: Any, name: str) -> None:
        self.shown.append((plan.file.name, name))
        if len(self.shown) == 2:
            raise KeyboardInterrupt


def test_a_registered_model_that_moves_is_taken_over(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also after looks that fail, which are told once."""
    second = tmp_path / "hgg-2-bbbb.pt"
    save_model(second, tiny_model(1, network={"stacks": 1}))
    found: Iterator[Path | None] = iter([model, model, None, None, model])

    def local(config: RunConfig, path: Path) -> Path:
        file = next(found, second)
        if file is None:
            raise UserError("the registry does not answer")
        return file

    monkeypatch.setattr("pipeline.commands.predict.local_model", local)
    monkeypatch.setattr(on_ray, "Endpoint", _Endpoint)
    monkeypatch.setattr(start, "start_ray", lambda cpus: _Endpoint(_config(), ""))
    with pytest.raises(KeyboardInterrupt):
        serve.run_endpoint(_config(), Path("models:/hgg@champion"), [])
    assert _Endpoint.shown == [
        ("hgg-1-aaaa.pt", "models:/hgg@champion (hgg-1-aaaa)"),
        ("hgg-2-bbbb.pt", "models:/hgg@champion (hgg-2-bbbb)"),
    ]
    assert caplog.text.count("hgg-1-aaaa is served on: the registry does not answer") == 1
