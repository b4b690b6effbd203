"""Paths of a bucket behave as paths of this machine do, on a real S3 server; half an upload is nothing."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hgg.reading import read_safely
from pipeline.base.errors import UserError
from pipeline.base.files import atomic_path, sha256_file, write_json, write_text
from pipeline.base.s3 import StorePath, file_system, local_copy, stored
from pipeline.data.rows import read_rows
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config, print_config
from pipeline.tracking.store import store_uri
from tests.cases.s3_server import BUCKET, s3_server

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An S3 server, in the environment of this process."""
    with s3_server(tmp_path_factory.mktemp("s3")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        file_system.cache_clear()
        yield environment
    file_system.cache_clear()


@pytest.fixture(params=["here", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of this machine and one of a bucket, in turn."""
    if request.param == "here":
        return tmp_path
    request.getfixturevalue("server")
    return stored(f"s3://{BUCKET}/{tmp_path.name}")


def test_files_are_written_read_found_moved_and_removed(root: Path) -> None:
    file = root / "a" / "one.txt"
    assert not file.exists()
    assert not file.is_file()
    write_text(file, "first\nsecond\n")
    assert (file.exists(), file.is_file(), file.is_dir()) == (True, True, False)
    assert (file.parent.exists(), file.parent.is_file(), file.parent.is_dir()) == (True, False, True)
    assert file.read_text(encoding="utf-8") == "first\nsecond\n"
    assert file.stat().st_size == 13
    assert abs(file.stat().st_mtime - time.time()) < 600
    assert file.stat().st_mtime_ns > 0
    with file.open("a", encoding="utf-8") as opened:
        opened.write("third\n")
    with file.open(newline="", encoding="utf-8") as opened:
        assert [*opened] == ["first\n", "second\n", "third\n"]
    with (root / "a" / "new.txt").open("a", encoding="utf-8") as opened:
        opened.write("x")
    write_json(root / "a" / "deep" / "two.json", {"x": 1})
    assert sorted(path.name for path in (root / "a").iterdir()) == ["deep", "new.txt", "one.txt"]
    assert [path.name for path in root.glob("a/*.txt")] in (["new.txt", "one.txt"], ["one.txt", "new.txt"])
    assert [path.name for path in root.glob("*.txt")] == []
    assert [path.name for path in root.glob("*/deep/*.json")] == ["two.json"]
    (root / "a" / "new.txt").replace(root / "a" / "newer.txt")
    assert not (root / "a" / "new.txt").exists()
    (root / "b").mkdir(parents=True, exist_ok=True)
    (root / "a").replace(root / "b" / "a")
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.txt")) == ["b/a/newer.txt", "b/a/one.txt"]
    (root / "b" / "a" / "one.txt").unlink()
    (root / "b" / "a" / "one.txt").unlink(missing_ok=True)
    for missing in (root / "b" / "a" / "one.txt").unlink, (root / "none").read_bytes, (root / "none").stat:
        with pytest.raises(FileNotFoundError, match=r"none|one\.txt"):
            missing()
    assert not (root / "a").exists()


def test_files_of_other_libraries(root: Path) -> None:
    with atomic_path(root / "rows.parquet") as temporary:
        pq.write_table(pa.table({"n": range(100)}), temporary, row_group_size=10)
    assert [row["n"] for row in read_rows([root / "rows.parquet"], 7)] == [*range(100)]
    with atomic_path(root / "weights.pt") as temporary:
        torch.save({"a": torch.arange(5)}, temporary)
    assert read_safely(root / "weights.pt")["a"].tolist() == [0, 1, 2, 3, 4]
    with local_copy(root / "weights.pt") as local:
        assert sha256_file(local) == sha256_file(root / "weights.pt")
        assert os.fspath(local)
    with local_copy(root) as local:
        assert {path.name for path in local.iterdir()} == {"rows.parquet", "weights.pt"}
    with pytest.raises(ValueError, match=r"none\.pt: no such file"):
        read_safely(root / "none.pt")


def test_what_fails_leaves_what_stood_there(root: Path) -> None:
    write_text(root / "file", "good")
    with pytest.raises(RuntimeError), atomic_path(root / "file") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (root / "file").read_text() == "good"
    assert [path.name for path in root.iterdir()] == ["file"]


def test_a_path_of_a_bucket_is_a_path() -> None:
    path = stored("s3://bucket/runs/a")
    assert str(path / "x.pt") == "s3://bucket/runs/a/x.pt"
    assert isinstance((path / "x.pt").with_suffix(".json").parent, StorePath)
    assert path.absolute() == path.expanduser() == path
    assert path.as_uri() == "s3://bucket/runs/a"
    again = pickle.loads(pickle.dumps(path))
    assert (again, type(again), hash(again)) == (path, StorePath, hash(path))
    with pytest.raises(TypeError, match="s3://bucket/runs/a is in a store"):
        os.fspath(path)


def test_settings_take_a_bucket_and_give_it_back(tmp_path: Path) -> None:
    config = load_config([], ["run_root=s3://bucket/runs", "data.root=s3://bucket/coco"])
    assert isinstance(config.run_root, StorePath)
    assert str(config.data.root / "a") == "s3://bucket/coco/a"
    (tmp_path / "again.yaml").write_text(print_config(config))
    assert load_config([tmp_path / "again.yaml"]) == config
    assert "run_root: s3://bucket/runs\n" in print_config(config)
    with pytest.raises(UserError, match=r"gs://bucket.*s3://bucket/folder"):
        load_config([], ["run_root=gs://bucket/runs"])


def test_mlflows_own_file_cannot_be_in_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = RunConfig(run_root=stored("s3://bucket/runs"))
    with pytest.raises(UserError, match=r"run_root=s3://bucket/runs: MLflow's own file .* set tracking.uri"):
        store_uri(config)


UPLOAD = """
import sys, time
from pipeline.base.s3 import stored
with stored(sys.argv[1]).open("wb") as file:
    for _ in range(40):
        file.write(bytes(1 << 20))
    print("sent", flush=True)
    time.sleep(60)
"""


def test_an_upload_that_is_cut_off_leaves_nothing(server: dict[str, str], repository: Path) -> None:
    uri = f"s3://{BUCKET}/cut/off.bin"
    upload = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, uri], cwd=repository, stdout=subprocess.PIPE, env=os.environ | server
    )
    with upload:
        assert upload.stdout is not None
        assert upload.stdout.readline() == b"sent\n"
        upload.send_signal(signal.SIGKILL)
    assert not stored(uri).exists()
    assert not stored(uri).parent.exists()
