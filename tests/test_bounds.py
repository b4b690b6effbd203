"""What pyproject.toml admits: the lowest are those that were tried, and what is pinned is among them."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline.commands.start import pinned_versions

EXTRAS = ("pipeline", "dev")


def _requirements(repository: Path, *extras: str) -> list[Requirement]:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return [needed for needed in map(Requirement, wanted) if needed.name != "hgg"]


def _pins(file: Path) -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in pinned_versions(file).items()}


def test_the_lowest_versions_are_those_of_make_test_lowest(repository: Path) -> None:
    tried = _pins(repository / "constraints-lowest.txt")
    for needed in _requirements(repository, "pipeline"):
        (lowest,) = [part.version for part in needed.specifier if part.operator == ">="]
        assert tried[canonicalize_name(needed.name)] == Version(lowest), needed


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_both_sets_are_admitted(repository: Path, name: str) -> None:
    pins = _pins(repository / name)
    for needed in _requirements(repository, *EXTRAS):
        assert pins[canonicalize_name(needed.name)] in needed.specifier, needed
