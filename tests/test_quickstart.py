"""The quickstart notebook: its cells run one after the other, as a kernel runs them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hgg.pictures import decode_picture

TRAINING = "## A model of your own"
FEWEST = (
    "synthetic.train_images=24 synthetic.val_images=8 pretrain.steps=4 pretrain.validate_every=4 "
    "pretrain.checkpoint_every=4 joint.steps=2 joint.validate_every=2 joint.checkpoint_every=2 "
    "evaluate.runtime_images=0"
)


def _cells(repository: Path) -> tuple[list[str], list[str]]:
    """The code before the training, and from there on."""
    notebook = json.loads((repository / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
    before, after = [], []
    found = before
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found.append(text)
        elif text.startswith(TRAINING):
            found = after
    return before, after


def _run(cells: list[str]) -> dict[str, Any]:
    """What the cells leave; a line that begins with ! is a command, {NAME} in it a value."""

    def command(line: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(line, shell=True, check=True, env=os.environ | {"PATH": path}, timeout=900)

    names: dict[str, Any] = {"command": command}
    for cell in cells:
        exec(re.sub(r"^!(.*)$", r'command(f"""\1""")', cell, flags=re.MULTILINE), names)
    return names


def test_the_cells_that_take_seconds_run(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository / "docs")
    before, after = _cells(repository)
    names = _run(before)
    assert len(names["people"].scores) >= 3
    assert len(names["coco"]["annotations"]) == len(names["people"])
    assert "rounds" in capsys.readouterr().out
    assert len(after) >= 3


def test_the_notebook_shows_what_it_gave(repository: Path) -> None:
    """Outputs are kept, pictures among them, and none is an error."""
    notebook = json.loads((repository / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
    outputs = [each for cell in notebook["cells"] for each in cell.get("outputs", [])]
    assert not [each for each in outputs if each["output_type"] == "error"]
    pictures = [each for each in outputs if any(kind.startswith("image/") for kind in each.get("data", {}))]
    assert len(pictures) == 4


@pytest.mark.slow
def test_all_cells_run(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer steps and pictures than it has."""
    for folder in ("conf", "docs"):
        (tmp_path / folder).symlink_to(repository / folder)
    monkeypatch.chdir(tmp_path)
    before, after = _cells(repository)
    assert sum(cell.count("FEWER = ") for cell in after) == 1
    small = [re.sub(r'FEWER = ".*"', f'FEWER = "{FEWEST}"', cell) for cell in after]
    _run([*before, *small])
    assert decode_picture(Path("runs/quickstart/evaluate/pictures/picture.png").read_bytes()).shape[1] > 100
