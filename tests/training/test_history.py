"""Log lines, metrics.csv and curves of a run."""

from pathlib import Path

import cv2

from pipeline.training.history import (
    COLUMNS,
    add_to_history,
    begin_history,
    draw_curves,
    log_line,
    read_history,
)
from pipeline.training.loop import Row


def row(step: int, ap: float | None = None) -> Row:
    values: Row = dict.fromkeys(COLUMNS, 0.1)
    values |= {"step": step, "loss": 1 / 3, "seconds_left": 3661.2, "waiting": 0.25}
    return values | {"ap": ap, "ap_ae": ap}


def test_log_line_has_its_fixed_order() -> None:
    assert log_line(row(50), 1000) == (
        "step   50/1000  loss 0.3333  heatmap 0.1  push 0.1  pull 0.1  edge 0.1  macro 0.1  lr 0.1  "
        "0.1 images/s  waiting 25%  left 1:01:01"
    )
    assert log_line(row(50, ap=0.5), 1000).endswith("left 1:01:01  AP 0.500 (AE 0.500)")


def test_rows_come_back_with_all_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    begin_history(path, 0)
    add_to_history(path, row(50))
    add_to_history(path, row(100, ap=0.7))
    assert read_history(path) == [row(50), row(100, ap=0.7)]
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_resumed_run_has_no_step_twice_and_no_cut_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    begin_history(path, 0)
    for step in (50, 100, 150):
        add_to_history(path, row(step))
    with path.open("a") as file:
        file.write("200,0.5,0.")  # the process was killed here
    begin_history(path, 100)
    add_to_history(path, row(150))
    assert [r["step"] for r in read_history(path)] == [50, 100, 150]


def test_curves_are_a_picture_with_and_without_rows(tmp_path: Path) -> None:
    for rows in ([], [row(1), row(2, ap=0.5)]):
        draw_curves(rows, tmp_path / "curves.png", "pretrain")
        picture = cv2.imread(str(tmp_path / "curves.png"))
        assert picture is not None
        assert picture.shape[1] > picture.shape[0] > 400
