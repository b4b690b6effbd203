"""jobs/inspect.py as a command, and that no job finds it in the place of Python's module of its name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.other_people import KINDS, draw_others


@pytest.mark.parametrize("where", ["repository", "link", "jobs"])
def test_jobs_find_python_s_own_inspect(where: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository)
    folder, file = {
        "repository": (repository, "jobs/doctor.py"),
        "link": (tmp_path, "link/jobs/doctor.py"),
        "jobs": (repository / "jobs", "doctor.py"),
    }[where]
    done = subprocess.run(
        [sys.executable, file, "--help"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: python jobs/doctor.py")


def test_the_last_line_says_where_the_page_is(repository: Path, tmp_path: Path) -> None:
    draw_others(tmp_path / "data", KINDS[3], train=4, val=2, max_people=2)
    done = subprocess.run(
        [
            sys.executable, str(repository / "jobs" / "inspect.py"),
            f"data.root={tmp_path / 'data'}", f"run_root={tmp_path / 'run'}", "--images", "3",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert Path(results["page"]).is_file()
    assert results["splits"]["train2017"]["looked_at"] == 3
    assert "skeleton: assumed: the category's links leave joints apart" in done.stderr
