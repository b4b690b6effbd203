"""Exit codes, the last line on stdout, log lines and where results come from, on real processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.base.provenance import provenance, write_results

JOB = """
import logging, sys, time
sys.path.insert(0, {root!r})
from pipeline.commands.job import UserError, run_job

def add_arguments(parser):
    parser.add_argument("--source", default="none")

def main(config, arguments):
    logging.getLogger("pipeline.some").info("step 1")
    logging.getLogger("alembic").info("noise")
    match arguments.source:
        case "user":
            raise UserError("people.json: no such file: make it with jobs/preprocess.py")
        case "ours":
            raise ValueError("shapes (3,) and (4,) differ")
        case "nan":
            return {{"ap": float("nan")}}
        case "long":
            open("n" * 300)
        case "wait":
            print("waiting", flush=True)
            time.sleep(60)
        case "task":
            import ray
            ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            @ray.remote
            def fail():
                raise UserError("photo.jpg: is cut off")
            ray.get(fail.remote())
    print("a line of the job's own")
    return {{"views": config.data.views, "source": arguments.source}}

run_job(main, name="some", description="A job of the tests.", add_arguments=add_arguments)
"""


@pytest.fixture
def job(tmp_path: Path, repository: Path) -> Path:
    path = tmp_path / "some.py"
    path.write_text(JOB.format(root=str(repository)))
    return path


def _run(job: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(job), *arguments], capture_output=True, text=True, timeout=120, cwd=job.parent
    )


def test_done_is_0_and_ends_with_one_line_of_json(job: Path) -> None:
    done = _run(job, "data.views=1", "--source", "photo.jpg", "data.views=2")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1]) == {"views": 2, "source": "photo.jpg"}


def test_log_lines_are_ours_alone_and_on_stderr(job: Path) -> None:
    done = _run(job)
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith(" INFO    step 1\n")
    assert "step 1" not in done.stdout


def test_a_user_s_mistake_is_2_with_one_line(job: Path) -> None:
    done = _run(job, "--source", "user")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: people.json: no such file: make it with jobs/preprocess.py"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.rooot=x"], "error: data.rooot is not a setting: did you mean data.root?\n"),
        (
            ["--config", "none.yaml"],
            "error: none.yaml: no such file (--config takes a YAML file, as those in conf/)\n",
        ),
        (["--sauce", "x"], "error: unrecognized arguments: --sauce (see python jobs/some.py --help)\n"),
        (["--config"], "error: argument --config: expected one argument (see python jobs/some.py --help)\n"),
    ],
)
def test_mistakes_on_the_command_line_are_2_before_anything_starts(
    job: Path, arguments: list[str], message: str
) -> None:
    done = _run(job, *arguments)
    assert (done.returncode, done.stderr, done.stdout) == (2, message, "")


def test_any_other_error_is_1_with_its_traceback(job: Path) -> None:
    done = _run(job, "--source", "ours")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("ValueError: shapes (3,) and (4,) differ\n")


def test_results_that_json_cannot_hold_are_an_error_of_ours(job: Path) -> None:
    done = _run(job, "--source", "nan")
    assert done.returncode == 1
    assert "NaN" not in done.stdout


def _signalled(job: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and standard error of a job that a signal reaches at work."""
    process = subprocess.Popen(
        [sys.executable, str(job), "--source", "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, error


@pytest.mark.usefixtures("interruptible")
def test_interrupt_is_130_without_a_traceback(job: Path) -> None:
    code, error = _signalled(job, signal.SIGINT)
    assert code == 130
    assert error.endswith("stopped\n")
    assert "Traceback" not in error


def test_sigterm_is_143_with_one_line(job: Path) -> None:
    code, error = _signalled(job, signal.SIGTERM)
    assert code == 143
    assert error.splitlines()[1:] == ["stopped by SIGTERM; the same command goes on"]


def test_a_name_that_no_disk_takes_is_2_with_one_line(job: Path) -> None:
    done = _run(job, "--source", "long")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: nnnn")
    assert done.stderr.endswith(
        ": longer than the disk takes: choose a shorter run_root, trial or data.root\n"
    )
    assert "Traceback" not in done.stderr


def test_a_user_s_mistake_found_in_a_ray_task_is_2_with_one_line(job: Path) -> None:
    done = _run(job, "--source", "task")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: photo.jpg: is cut off"
    assert "Traceback" not in done.stderr


def test_print_config_prints_and_does_nothing(job: Path) -> None:
    done = _run(job, "--print-config", "data.views=7", "--source", "ours")
    assert done.returncode == 0
    assert (
        "  # Augmented views per training image beside the un-augmented view 0.\n  views: 7\n" in done.stdout
    )


def test_help_names_the_groups_of_settings(job: Path) -> None:
    begun = time.monotonic()
    done = _run(job, "--help")
    assert done.returncode == 0
    assert time.monotonic() - begun < 20
    for word in ("A job of the tests.", "--source", "--config FILE", "key.sub=value", "pretrain", "tracking"):
        assert word in done.stdout


def test_write_results(tmp_path: Path) -> None:
    write_results(tmp_path / "evaluate", {"ap": {"hgg": 0.6}})
    assert json.loads((tmp_path / "evaluate" / "results.json").read_text()) == {"ap": {"hgg": 0.6}}


def test_provenance_names_command_commit_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["jobs/pretrain.py", "run_root=a folder"])
    found = provenance()
    assert found["command"] == "python jobs/pretrain.py 'run_root=a folder'"
    assert found["torch"].startswith("2.")
    assert found["python"].startswith("3.1")
    assert set(found) == {"command", "commit", "python", "torch", "ray", "mlflow"}


def test_commit_of_a_clean_and_of_a_changed_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.base.provenance.REPOSITORY", tmp_path)
    assert provenance()["commit"] == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "a.txt").write_text("one")
    for arguments in (["init", "-q"], ["add", "a.txt"], ["commit", "-q", "-m", "one"]):
        subprocess.run(git + arguments, check=True, timeout=60)
    commit = provenance()["commit"]
    assert len(commit) == 40
    (tmp_path / "untracked.txt").write_text("runs/ and the like")
    assert provenance()["commit"] == commit
    (tmp_path / "a.txt").write_text("two")
    assert provenance()["commit"] == commit + "+changes"
    monkeypatch.setenv("PATH", "")
    assert provenance()["commit"] == "unknown"
