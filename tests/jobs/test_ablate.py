"""The ablate job on drawn people: killed in the middle, started again, started once more; and wrong use."""

import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.studies.ablation.rows import find_rows
from pipeline.tracking.store import store_uri
from pipeline.training.history import read_history
from tests.cases.small_demo import SECONDS, Job

STEPS = 40
SETTINGS = {
    "data.shard_images": 12,
    "synthetic.val_images": 6,
    "evaluate.pictures": 1,
    "joint.steps": STEPS,
    "joint.log_every": 5,
    "joint.checkpoint_every": 5,
}


@pytest.fixture(scope="module")
def job(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    made = Job(repository, tmp_path_factory.mktemp("ablate"), SETTINGS)
    made.prepare()
    return made


def _kill_in_the_middle(job: Job, *arguments: str) -> None:
    """Start the ablation, and end it with SIGKILL once a training has kept a checkpoint but is not over."""
    with (job.root / "first.log").open("w") as log:
        process = subprocess.Popen(job.command("ablate", *arguments), cwd=job.root, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + SECONDS
            while not any(len(read_history(path)) >= 3 for path in job.histories("ablation")):
                assert process.poll() is None, (job.root / "first.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_two_rows_are_killed_go_on_and_are_not_run_again(job: Job) -> None:
    rows = ("--rows", "1,9", "--seeds", "1")
    _kill_in_the_middle(job, *rows)
    assert not [*job.config.run_root.glob("ablation/joint-*/*/evaluate/results.json")]

    results, stderr = job.run("ablate", *rows)
    assert "0 of 2 trials are finished" in stderr
    assert "2 of 2 trainings done" in stderr
    assert (results["trials"], results["trials_run"], [*results["rows"]]) == (2, 2, ["1", "9"])
    assert len(job.histories("ablation")) == 2
    for path in job.histories("ablation"):  # every step once, also of the training that was killed
        assert [row["step"] for row in read_history(path)] == [*range(5, STEPS + 1, 5)]
    logs = [path.with_name("train.log").read_text() for path in job.histories("ablation")]
    assert any("resuming at step" in text for text in logs)
    table = Path(results["table"]).read_text()
    assert table.count("not trained here") == len(find_rows()) - 2

    client = MlflowClient(tracking_uri=store_uri(job.config))
    parent = client.get_run(results["mlflow_run"])
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{results['mlflow_run']}'"
    )
    assert sorted(run.data.tags["ablation.row"] for run in children) == ["1", "9"]
    assert {run.data.tags["ablation.seed"] for run in children} == {"0"}
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    nine = next(run for run in children if run.data.tags["ablation.row"] == "9")
    assert nine.data.metrics["hgg/AP"] * 100 == pytest.approx(results["rows"]["9"]["AP"])

    again, stderr = job.run("ablate", *rows)
    assert "2 of 2 trials are finished: nothing to do" in stderr
    assert (again["trials_run"], again["rows"]) == (0, results["rows"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--rows", "1,twelve"), "error: --rows=1,twelve: no row twelve: there are 1, 2, "),
        (("--seeds", "0"), "error: --seeds=0: give 1 or more"),
        (("train.pretrained=none.pt",), "none.pt: no pretrained model there"),
    ],
)
def test_wrong_use_is_one_line(job: Job, arguments: tuple[str, ...], complaint: str) -> None:
    done = job.call("ablate", *arguments, seconds=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
