"""Starting Ray: what the environment says, and what it is given."""

import os
import time
from pathlib import Path

import pytest

from pipeline import cluster
from pipeline.cluster import start_ray
from pipeline.command import UserError

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
    cluster._bring_a_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert list(home.iterdir()) == []


def test_a_token_that_the_user_has_is_left_alone(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("mine")
    cluster._bring_a_token()
    assert not any(name in os.environ for name in TOKENS)


def test_workers_find_this_project_once(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    for _ in range(2):
        cluster._let_workers_import_this()
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(repository), "elsewhere"])
