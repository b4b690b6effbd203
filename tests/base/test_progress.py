"""How far work has come: lines in a log, a bar on a terminal."""

import io
import logging
import sys

import pytest

from pipeline.base import progress
from pipeline.base.progress import Progress, TerminalHandler


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        work = Progress("evaluate", 8, "images")
        for _ in range(2):
            work.add(4)
    assert [line.partition(", ")[0] for line in caplog.messages] == [
        "evaluate: 4 of 8 images",
        "evaluate: 8 of 8 images",
    ]


def test_a_terminal_gets_a_bar_and_lines_above_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work = Progress("evaluate", 8, "images")
    work.add(4)
    TerminalHandler().emit(logging.LogRecord("hgg", logging.INFO, "", 0, "said meanwhile", None, None))
    work.add(4)
    shown = terminal.getvalue()
    assert not caplog.messages
    assert "evaluate:" in shown
    assert "/8" in shown
    assert "said meanwhile\n" in shown
    assert work.bar is not None
    assert work.bar.n == 8
