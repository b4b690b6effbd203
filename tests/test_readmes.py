"""READMEs name every file of the method and every room, and only tests, files and functions that exist."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgg.pictures import encode_jpeg
from tests.test_layers import MAY_IMPORT

DOCUMENTS = (
    "README.md",
    "docs/backbones.md",
    "docs/export.md",
    "hgg/README.md",
    "pipeline/README.md",
    "docs/reliability.md",
    "docs/performance.md",
)


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


def _cells(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    table = text.partition(heading)[2].partition("|---|")[2].partition("\n\n")[0]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]


def test_the_table_of_rooms_is_the_one_that_is_held(repository: Path) -> None:
    text = (repository / "pipeline" / "README.md").read_text(encoding="utf-8")
    rows = _cells(text, "## What a room may import, and touch")
    found = {room: set(imports.split(", ")) - {""} for room, _, imports in rows}
    assert found == {room: imports for room, imports in MAY_IMPORT.items() if room != "hgg"}


def test_what_the_readme_points_at_is_there(repository: Path) -> None:
    text = (repository / "pipeline" / "README.md").read_text(encoding="utf-8")
    rows = _cells(text, "## Where is what")
    assert len(rows) > 20
    for _, file, name in rows:
        path = repository / (file if file.startswith("hgg/") else f"pipeline/{file}")
        kind, _, member = name.partition(".")
        code = path.read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {kind}\b", code, re.MULTILINE), (file, name)
        assert not member or re.search(rf"^    def {member}\b", code, re.MULTILINE), (file, name)


def test_the_tree_names_every_room(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    for path in (repository / "pipeline").iterdir():
        if (path / "__init__.py").is_file():
            assert f"\n  {path.name}/" in text, path.name


def test_the_three_lines_run_as_they_stand(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(repository / "docs")
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(encode_jpeg(picture, 90))
    lines = (repository / "README.md").read_text(encoding="utf-8").partition("```python\n")[2]
    names: dict[str, Any] = {}
    exec(lines.partition("```")[0], names)  # it is ours
    assert names["people"].name == "photo.jpg"
    assert (tmp_path / "people.png").is_file()
