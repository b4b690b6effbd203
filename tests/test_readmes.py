"""READMEs name every file of the method, and only tests that exist."""

import re
from pathlib import Path

import pytest

DOCUMENTS = ("README.md", "hgg/README.md", "docs/reliability.md", "docs/performance.md")


def test_every_file_of_the_method_is_in_the_table(repository: Path) -> None:
    text = (repository / "hgg" / "README.md").read_text(encoding="utf-8")
    for path in (repository / "hgg").glob("*.py"):
        assert path.name == "__init__.py" or f"`{path.name}`" in text, path.name
    assert len(re.findall(r"`test_\w+\.py", text)) > 15


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tests_that_are_named_exist(repository: Path, document: str) -> None:
    """By their place below tests/, or by name alone where only one test has it."""
    tests = [path.relative_to(repository / "tests") for path in (repository / "tests").rglob("test_*.py")]
    text = (repository / document).read_text(encoding="utf-8")
    for name in re.findall(r"`(?:tests/)?((?:\w+/)?test_\w+\.py)", text):
        found = [path for path in tests if name in (path.as_posix(), path.name)]
        assert len(found) == 1, f"{name}: {found}"
