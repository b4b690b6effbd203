"""A run root that was moved or copied: what a job sends to MLflow goes to where the run root is now."""

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from hgg.model import HGG
from hgg.weights import save_model
from pipeline.base.files import sha256_file
from pipeline.settings.config import RunConfig
from pipeline.tracking.moved import PLACES
from pipeline.tracking.registry import fetch
from pipeline.tracking.run import track
from pipeline.tracking.store import open_store, store_uri
from tests.cases.training import MODEL

# MLflow warns itself of its own types when its models are imported, and hides that in its own way.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

OLD_NAME = "a root%_of {then}"  # signs that mean something in addresses, and in SQL


class Root(NamedTuple):
    """A run root with a run, an artifact of it, and a registered model."""

    config: RunConfig
    run_id: str

    @property
    def folder(self) -> Path:
        """Of the job."""
        return self.config.run_root / "pretrain"

    def at(self, place: Path) -> "Root":
        """The same, where it is now."""
        return Root(self.config.model_copy(update={"run_root": place}), self.run_id)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Root:
    config = RunConfig(run_root=tmp_path_factory.mktemp("made") / OLD_NAME)
    (config.run_root / "pretrain").mkdir(parents=True)
    save_model(config.run_root / "pretrain" / "weights.pt", HGG(MODEL))
    (config.run_root / "pretrain" / "first.txt").write_text("first")
    with track(config, "pretrain", config.run_root / "pretrain", {}, resume=True) as tracked:
        tracked.artifact(config.run_root / "pretrain" / "first.txt")
        model = tracked.model(config.run_root / "pretrain" / "weights.pt", MODEL, 0)
        client, model_id = tracked.client, model.removeprefix("models:/")
        client.create_registered_model("hgg")
        version = client.create_model_version(
            "hgg",
            client.get_logged_model(model_id).artifact_location,
            run_id=tracked.run_id,
            tags={"sha256": sha256_file(config.run_root / "pretrain" / "weights.pt")},
            model_id=model_id,
        )
        client.set_registered_model_alias("hgg", "champion", version.version)
    return Root(config, tracked.run_id)


def _files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def _work_there(root: Root) -> None:
    """A job goes on there: a new artifact, a model, and the champion fetched."""
    utils._artifact_repos_cache.clear()  # as in a process of its own, which a job is
    (root.folder / "second.txt").write_text("second")
    with track(root.config, "pretrain", root.folder, {}, resume=True) as tracked:
        assert tracked.run_id == root.run_id
        tracked.artifact(root.folder / "second.txt")
        tracked.model(root.folder / "weights.pt", MODEL, 1)
    client = MlflowClient(tracking_uri=store_uri(root.config))
    assert {"first.txt", "second.txt"} <= {file.path for file in client.list_artifacts(root.run_id)}
    kept = {path.name for path in (root.config.run_root / "mlartifacts").rglob("*.txt")}
    assert {"first.txt", "second.txt"} <= kept
    assert len([*(root.config.run_root / "mlartifacts").rglob("MLmodel")]) == 2
    found = fetch(root.config, "models:/hgg@champion")
    assert found.is_relative_to(root.config.run_root)
    with closing(sqlite3.connect(root.config.run_root / "mlflow.db")) as tables:
        for table, column in PLACES:
            for (place,) in tables.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                assert "made" not in place or OLD_NAME.split()[0] + "%20" not in place


def test_a_copy_leaves_the_original_alone_and_a_moved_one_does_not_come_back(
    made: Root, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = _files(made.config.run_root)
    shutil.copytree(made.config.run_root, tmp_path / "copy")
    with caplog.at_level(logging.INFO, "pipeline"):
        _work_there(made.at(tmp_path / "copy"))
        assert caplog.text.count("the run root was moved or copied from file:") == 1
        caplog.clear()
        assert _files(made.config.run_root) == before  # not a byte
        (tmp_path / "copy").rename(tmp_path / "moved on")
        (tmp_path / "copy").write_text("no folder: nothing can be made in it")
        root = made.at(tmp_path / "moved on")
        open_store(root.config)
        assert caplog.text.count("the run root was moved or copied") == 1
        caplog.clear()
        (tmp_path / "link").symlink_to(tmp_path / "moved on")
        open_store(made.at(tmp_path / "link").config)  # another name of the same folder
        assert "moved or copied" not in caplog.text
    client = MlflowClient(tracking_uri=store_uri(root.config))
    assert client.get_run(made.run_id).info.artifact_uri.startswith((tmp_path / "moved on").as_uri())


def test_places_of_the_users_own_choice_stay(made: Root, tmp_path: Path) -> None:
    shutil.copytree(made.config.run_root, tmp_path / "copy")
    root = made.at(tmp_path / "copy")
    client = MlflowClient(tracking_uri=store_uri(root.config))
    own = client.create_experiment("own", artifact_location=(tmp_path / "own").as_uri())
    open_store(root.config)
    assert client.get_experiment(own).artifact_location == (tmp_path / "own").as_uri()
