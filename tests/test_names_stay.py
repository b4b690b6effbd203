"""Names by which runs, shards and results of earlier versions are known again stay what they were.

The names are in tests/golden/names/ (`python -m tests.make_names`); `tests/cases/names.py` collects them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cases.job_names import job_names
from tests.cases.names import GOLDEN, all_names, help_texts, print_config_text


def _golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return all_names()


@pytest.mark.parametrize("kind", ["configurations", "ablation", "shards", "seeds", "files"])
def test_names_stay(found: dict[str, Any], kind: str) -> None:
    golden = _golden("names.json")[kind]
    assert found[kind].keys() == golden.keys()
    for name, value in golden.items():
        assert found[kind][name] == value, name


def test_print_config_stays_to_the_letter() -> None:
    assert print_config_text() == (GOLDEN / "print_config.yaml").read_text(encoding="utf-8")


def test_the_help_of_each_job_stays_to_the_letter() -> None:
    texts, golden = help_texts(), _golden("help.json")
    assert texts.keys() == golden.keys()
    for job, text in golden.items():
        assert texts[job] == text, job


@pytest.mark.slow
def test_what_jobs_leave_keeps_its_keys_and_names(tmp_path: Path) -> None:
    jobs, golden = job_names(tmp_path), _golden("jobs.json")
    assert jobs.keys() == golden.keys()
    for job, names in golden.items():
        assert jobs[job] == names, job
