"""A password in `tracking.uri`: whatever jobs leave and print is searched for it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.load import load_config
from tests.cases.mlflow_server import Server
from tests.cases.small_demo import Job

SECRET, MASKED = "s3cret-Pa55", "user:***@"
SETTINGS = {
    "data.shard_images": 6,
    "synthetic.val_images": 4,
    "joint.steps": 12,
    "joint.log_every": 4,
    "joint.validate_every": 4,
    "evaluate.runtime_images": 0,
    "tune.trials": 2,
    "tune.held_out": 0.25,
    "tune.seeds": 0,
}


def _with_password(server: Server) -> str:
    return server.uri.replace("://", f"://user:{SECRET}@")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "store").mkdir()
    server = Server(tmp_path / "store")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ray_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray keeps its logs; short, as the paths of its sockets must be."""
    with tempfile.TemporaryDirectory(prefix="hgg-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def _holding(folder: Path) -> list[Path]:
    """Files below that hold the password."""
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_nothing_that_jobs_leave_or_print_holds_the_password(
    server: Server, ray_files: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = f"tracking.uri={_with_password(server)}"
    job = Job(repository, tmp_path, SETTINGS)
    said = ""
    for name, *arguments in (
        ("synthesize",),
        ("preprocess", named),
        ("pretrain", named, "train.num_workers=1", "train.cpus_per_worker=0.5"),
        ("train_joint", "tracking.uri='${oc.env:STORE}'"),
        ("evaluate", named),
        ("register", named),
        ("tune", named),
    ):
        monkeypatch.setenv("STORE", _with_password(server))
        done = job.call(name, *arguments)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    assert SECRET not in said
    assert MASKED in said
    assert _holding(tmp_path) == []
    assert _holding(ray_files) == []

    run = tmp_path / "run"
    assert MASKED in yaml.safe_load((run / "joint" / "config.yaml").read_text())["tracking"]["uri"]
    assert MASKED in json.loads((run / "evaluate" / "results.json").read_text())["command"]
    kept = json.loads((run / "pretrain" / "mlflow.json").read_text())
    assert MASKED in kept["uri"]
    # The same store is known again, by another password too.
    again = json.loads(job.call("pretrain", named).stdout.splitlines()[-1])
    assert again["mlflow_run"] == kept["run_id"]


def test_a_store_that_does_not_answer_is_named_without_its_password(tmp_path: Path, repository: Path) -> None:
    uri = f"http://user:{SECRET}@127.0.0.1:9"
    job = Job(repository, tmp_path, SETTINGS)
    environment = os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_TRACKING_URI": uri}
    for arguments, code in ((["register", "--run", "x"], 2), (["doctor", "train.num_workers=0"], 1)):
        done = subprocess.run(
            job.command(*arguments), cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == code, done.stderr
        assert SECRET not in done.stdout + done.stderr
    assert f"tracking.uri=http://{MASKED}127.0.0.1:9: " in done.stdout
    assert _holding(tmp_path) == []


def test_unknown_settings_and_arguments_are_named_without_their_passwords(
    tmp_path: Path, repository: Path
) -> None:
    uri = f"http://user:{SECRET}@127.0.0.1:9"
    for argument in (f"data.views={uri}", f"{uri}", f"--store={uri}", f"run_root={uri}"):
        done = Job(repository, tmp_path, SETTINGS).call("pretrain", argument)
        assert done.returncode == 2
        assert SECRET not in done.stdout + done.stderr
        assert MASKED in done.stderr


def test_a_printed_configuration_holds_no_password(tmp_path: Path, repository: Path) -> None:
    uri = f"tracking.uri=http://user:{SECRET}@h"
    done = Job(repository, tmp_path, SETTINGS).call("pretrain", "--print-config", uri)
    assert f"  uri: http://{MASKED}h\n" in done.stdout
    assert SECRET not in done.stdout


def test_names_of_runs_do_not_depend_on_the_password() -> None:
    one, two, masked = (load_config([], [f"tracking.uri=http://user:{word}@h"]) for word in ("a", "b", "***"))
    assert fingerprint(one) == fingerprint(two) == fingerprint(masked)
