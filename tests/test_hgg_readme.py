"""hgg/README.md names every file of the method, and only tests that exist."""

import re
from pathlib import Path


def test_every_file_of_the_method_is_in_the_table_with_its_tests(repository: Path) -> None:
    text = (repository / "hgg" / "README.md").read_text(encoding="utf-8")
    for path in (repository / "hgg").glob("*.py"):
        assert path.name == "__init__.py" or f"`{path.name}`" in text, path.name
    named = re.findall(r"`(?:tests/)?(test_\w+\.py)`", text)
    assert len(named) > 15
    for name in named:
        assert (repository / "tests" / name).is_file(), name
