"""The tune job on drawn people: killed in the middle, gone on with, started once more; and wrong use."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from pipeline.settings.load import load_config
from pipeline.tracking.store import store_uri
from pipeline.training.history import read_history
from tests.cases.small_demo import SECONDS, Job

TRIALS, STEPS = 3, 12
SETTINGS = {
    "data.shard_images": 6,
    "synthetic.val_images": 4,
    "joint.steps": STEPS,
    "joint.log_every": 4,
    "joint.validate_every": 4,
    "tune.trials": TRIALS,
    "tune.held_out": 0.25,
    "tune.seeds": 1,
}


@pytest.fixture(scope="module")
def job(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    made = Job(repository, tmp_path_factory.mktemp("tune"), SETTINGS)
    made.prepare()
    return made


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--resume",), "no sweep of this configuration was begun: leave --resume out"),
        (("tune.push=[0.3,1]",), "tune.push=[0.3, 1]: does not hold loss.push=0.001"),
        (("tune.held_out=0.9",), "train.held_out=0.9: "),
        (("train.pretrained=none.pt",), "none.pt: no pretrained model there"),
    ],
)
def test_wrong_use_is_one_line(job: Job, arguments: tuple[str, ...], complaint: str) -> None:
    done = job.call("tune", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def _kill_in_the_middle(job: Job) -> None:
    """Start the sweep, and end it with SIGKILL once a trial was scored."""
    log = job.root / "first.log"
    with log.open("w") as out:
        process = subprocess.Popen(job.command("tune"), cwd=job.root, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + SECONDS
            while "tune: trial " not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            # Trials see some seconds later that nobody is left to work for and write until then. Ray's agents
            # see it a minute later.
            _, running = psutil.wait_procs(started, timeout=90)
    assert running == []
    # As when killed a moment earlier: Tune's own files of scores come later than the line in the log.
    for name in ("result.json", "progress.csv"):
        for path in job.config.run_root.glob(f"tune/*/ray/trial_*/{name}"):
            path.unlink()


@pytest.mark.slow
def test_a_sweep_is_killed_moved_goes_on_and_is_not_run_again(job: Job, repository: Path) -> None:
    unmoved = job
    _kill_in_the_middle(job)
    assert not list(job.config.run_root.glob("tune/*/results.json"))

    job = Job(repository, job.root / "another place", SETTINGS)
    job.root.mkdir()
    unmoved.config.run_root.rename(job.config.run_root)
    results, stderr = job.run("tune", "--resume")
    assert f"this sweep was begun when its run root was {unmoved.config.run_root}" in stderr
    assert f"MLflow's artifacts are {job.config.run_root}/mlartifacts now" in stderr
    assert not unmoved.config.run_root.exists()
    assert "tune: going on with the search in " in stderr
    assert all(" INFO " in line for line in stderr.splitlines()), stderr
    assert results["trials"] == TRIALS
    assert sum(results["states"].values()) == TRIALS
    for path in job.histories("tune"):  # every step once, also of the training that was killed
        steps = [row["step"] for row in read_history(path)]
        assert steps == [*range(4, STEPS + 1, 4)][: len(steps)]
    table = Path(results["table"]).read_text()
    assert "the paper's weights" in table
    assert "the configuration's own" in table
    assert len([line for line in table.splitlines() if line[2:3].isdigit()]) == TRIALS
    best = load_config([Path(results["best_config"])])
    assert best.run_root == job.config.run_root
    assert (best.loss.push, best.grouping.cut) == (
        results["best"]["values"]["push"],
        results["best"]["values"]["cut"],
    )

    client = MlflowClient(tracking_uri=store_uri(job.config))
    parent = client.get_run(results["mlflow_run"])
    assert parent.info.status == "FINISHED"
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{results['mlflow_run']}'"
    )
    assert sorted(run.data.tags["trial"] for run in children if "trial" in run.data.tags) == ["1", "2", "3"]
    assert {run.info.status for run in children} == {"FINISHED"}

    again, stderr = job.run("tune")
    assert "is finished: nothing to do" in stderr
    assert again == results
    job.config.run_root.rename(unmoved.config.run_root)
    again, stderr = unmoved.run("tune")
    assert "is finished: nothing to do" in stderr
    moved_back = {name: results[name].replace("another place/", "") for name in ("table", "best_config")}
    assert again == results | moved_back


@pytest.mark.slow
def test_trials_may_be_trained_by_workers_of_ray(job: Job) -> None:
    few = ("train.num_workers=1", "train.cpus_per_worker=1", "tune.trials=2", "tune.seeds=0")
    results, stderr = job.run("tune", *few)
    assert results["states"] == {"finished": 2}
    assert "trial 2 of 2: step 12 of 12" in stderr
    assert all(" INFO " in line for line in stderr.splitlines()), stderr
