"""jobs/preprocess.py as a process, on real Ray: workers, SIGKILL and a rerun, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.base.provenance import REPOSITORY
from pipeline.data.shards import samples_manifest
from tests.cases.full_disk import fill
from tests.cases.tiny_coco import TinyCoco, spoiled

JOB = REPOSITORY / "jobs" / "preprocess.py"
SECONDS = 120
VIEWS = 30  # enough that writing samples takes seconds, so that there is a middle to be killed in


def settings(root: Path, run_root: Path, **changes: Any) -> list[str]:
    values = {
        "run_root": run_root,
        "data.root": root,
        "data.train_split": "train",
        "data.val_split": "val",
        "data.views": VIEWS,
        "data.shard_images": 3,
        "data.row_group": 4,
        "network.input_size": 256,
    }
    return [f"{key}={value}" for key, value in (values | changes).items()]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(JOB), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(arguments: list[str], code: int = 0) -> tuple[str, str]:
    """Standard output and standard error of the job."""
    process = start(arguments)
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == code, err
    return out, err


def contents(run_root: Path) -> dict[str, str]:
    """SHA-256 of every shard, by its place."""
    found = {}
    for manifest in run_root.glob("*/*/manifest.json"):
        for row in json.loads(manifest.read_text(encoding="utf-8"))["shards"]:
            found[f"{manifest.parent.relative_to(run_root)}/{row['file']}"] = row["sha256"]
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """31 images to train on, ten of them bad, and 5 to validate on, one without people."""
    root = tmp_path_factory.mktemp("coco")
    train, _ = spoiled()
    for index in range(20):
        train.add_image(160, 120, people=1 + index % 3)
    val = TinyCoco()
    for people in (1, 2, 0, 1, 3):
        val.add_image(people=people)
    train.write(root, "train")
    val.write(root, "val")
    return root


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A run with one worker: its run root, its results and what it logged."""
    run_root = tmp_path_factory.mktemp("undisturbed") / "run"
    out, err = run(settings(root, run_root, **{"data.workers": 1}))
    return run_root, json.loads(out.splitlines()[-1]), err


def test_results(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    run_root, results, _ = undisturbed
    assert results == json.loads((run_root / "preprocess" / "results.json").read_text(encoding="utf-8"))
    train, val = results["splits"]["train"], results["splits"]["val"]
    _, rejected = spoiled()
    assert train["records"]["rejected"] == rejected
    assert (train["records"]["counts"]["rows"], val["records"]["counts"]["rows"]) == (21, 5)
    assert val["records"]["counts"]["images_without_people"] == 1
    assert train["samples"]["counts"]["rows"] == 21 * (1 + VIEWS)
    assert val["samples"]["counts"] == {"images": 4, "people": 7, "rows": 4}
    assert train["samples"]["views_per_second"] > 0
    assert 0 < train["samples"]["task_peak_mib"] < 2000
    listed = (run_root / "records" / "train" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(listed) == sum(rejected.values())
    assert samples_manifest(run_root / "samples" / "train").fingerprint == train["samples"]["fingerprint"]


def test_progress_is_logged_and_nothing_else(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    lines = undisturbed[2].splitlines()
    assert any(
        "samples train: 651 of 651 views, " in line and "views/s, 0:00:00 left" in line for line in lines
    )
    assert all(" INFO " in line for line in lines), undisturbed[2]


def wait_for_a_shard(folder: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + SECONDS
    while not list(folder.glob("part-*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["records", "samples"])
def test_killed_and_started_again_with_more_workers_it_writes_the_same(
    stage: str, root: Path, undisturbed: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    arguments = settings(root, tmp_path / "run", **{"data.workers": 2})
    folder = tmp_path / "run" / stage / "train"
    process = start(arguments)
    wait_for_a_shard(folder, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    written = len(list(folder.glob("part-*.json")))
    assert 0 < written < 11, "killed too late to show anything"
    assert not (folder / "manifest.json").exists()

    if stage == "samples":
        spoiled_file = tmp_path / "run" / "records" / "val" / "part-00000.parquet"
        spoiled_file.write_bytes(spoiled_file.read_bytes()[:-1] + b"?")
    out, _ = run(arguments)
    splits = json.loads(out.splitlines()[-1])["splits"]
    if stage == "samples":
        assert splits["train"]["records"]["shards_written"] == 0
        assert splits["val"]["records"]["shards_written"] == 1
    assert 0 < splits["train"][stage]["shards_written"] <= 11 - written
    assert_same_shards(tmp_path / "run", undisturbed[0])


def assert_same_shards(run_root: Path, undisturbed: Path) -> None:
    assert contents(run_root) == contents(undisturbed)
    assert len(contents(run_root)) == 2 * (11 + 2)
    left = [path for stage in ("records", "samples") for path in (run_root / stage).rglob(".*")]
    assert left == []


def kill_a_busy_worker(process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        for worker in psutil.Process(process.pid).children(recursive=True):
            try:
                if "ray::MapBatches" in " ".join(worker.cmdline()):
                    worker.kill()
                    return
            except psutil.NoSuchProcess:
                continue
    raise AssertionError(process.communicate())


@pytest.mark.slow
def test_a_killed_worker_of_ray_changes_nothing(
    root: Path, undisturbed: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    process = start(settings(root, tmp_path / "run", **{"data.workers": 2}))
    try:
        wait_for_a_shard(tmp_path / "run" / "samples" / "train", process)
        kill_a_busy_worker(process)
        process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0
    assert_same_shards(tmp_path / "run", undisturbed[0])


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_whole_shards(
    root: Path,
    undisturbed: tuple[Path, dict[str, Any], str],
    tmp_path: Path,
    small_disk: Callable[[Path, int], Path],
) -> None:
    disk = small_disk(tmp_path / "run" / "samples", 100)
    process = start(settings(root, tmp_path / "run", **{"data.workers": 1}))
    wait_for_a_shard(disk / "train", process)
    filler = fill(disk)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, err
    assert "no room left on the disk: free some, and the same command goes on" in err.splitlines()[-1]
    assert "Traceback" not in err
    filler.unlink()
    run(settings(root, tmp_path / "run", **{"data.workers": 2}))
    assert_same_shards(tmp_path / "run", undisturbed[0])


def test_a_rerun_writes_nothing(root: Path, undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed[0].rglob("part-*")}
    out, _ = run(settings(root, undisturbed[0], **{"data.workers": 1}))
    stages = [s for split in json.loads(out.splitlines()[-1])["splits"].values() for s in split.values()]
    assert [stage["shards_written"] for stage in stages] == [0, 0, 0, 0]
    assert {path: path.stat().st_mtime_ns for path in undisturbed[0].rglob("part-*")} == before


def test_too_many_bad_images_stop_it(root: Path, undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    _, err = run(settings(root, undisturbed[0], **{"data.max_rejected": 10}), code=2)
    last = err.splitlines()[-1]
    assert last.startswith(
        f"error: {root}/annotations/person_keypoints_train.json: 11 bad images, more than "
    )
    assert "Traceback" not in err


def test_all_bad_images_are_counted_and_the_first_named(root: Path, tmp_path: Path) -> None:
    _, expected = spoiled()
    one_file = {"data.annotations": "annotations/person_keypoints_train.json", "data.pictures": "train"}
    options = {"data.max_rejected": 0, "data.shard_images": 3, "data.workers": 1, **one_file}
    _, err = run(settings(root, tmp_path / "run", **options), code=2)
    assert f"{sum(expected.values())} bad images, more than data.max_rejected=0" in err.splitlines()[-1]
    assert (
        "first: 000000000011.jpg: empty_file: 0 bytes; 000000000012.jpg: truncated: " in err.splitlines()[-1]
    )
    assert "data.train_split=train and data.val_split=val are one file" in err
    assert "the others are looked at, to count all" in err


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: None, "no such annotation file"),
        (
            lambda root: write_text(root / "annotations" / "person_keypoints_val.json", "{}"),
            "not COCO's format",
        ),
        (
            lambda root: (root / "annotations" / "person_keypoints_val.json").unlink(),
            "no such annotation file",
        ),
        (
            lambda root: [path.unlink() for path in (root / "val").iterdir()],
            "the folder of pictures is empty",
        ),
    ],
    ids=["empty folder", "not COCO's", "missing annotation file", "no pictures"],
)
def test_bad_input_ends_before_anything_is_written(
    spoil: Any, message: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if "empty" not in request.node.callspec.id:
        coco = TinyCoco()
        coco.add_image()
        for split in ("train", "val"):
            coco.write(tmp_path / "coco", split)
    (tmp_path / "coco").mkdir(exist_ok=True)
    spoil(tmp_path / "coco")
    out, err = run(settings(tmp_path / "coco", tmp_path / "run"), code=2)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "run").exists()
