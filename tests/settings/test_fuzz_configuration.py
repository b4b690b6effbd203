"""Texts that nobody meant as settings: each is a configuration, or one `UserError` of few lines."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import UserError
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config, print_config
from pipeline.settings.sources import LONGEST_LINE

SECONDS = 3.0  # of each of the two tests, at the most
# Pieces that YAML, OmegaConf's paths and its interpolations are made of, and settings to put them into.
PIECES = [
    *(
        "${",
        "}",
        "{",
        "[",
        "]",
        ":",
        ": ",
        ",",
        ".",
        "..",
        "=",
        "&a ",
        "*a",
        "<<: ",
        "!!set ",
        "!!binary ",
        "? ",
        "- ",
    ),
    *(
        "|\n",
        ">",
        "'",
        '"',
        "\\",
        "#",
        "%",
        "@",
        "`",
        "~",
        "\n",
        "\n  ",
        "\t",
        "---\n",
        "...",
        "???",
        "\0",
        "\ud800",
    ),
    *(
        "oc.env:",
        "oc.create:",
        "oc.decode:",
        "oc.select:",
        "oc.dict.keys:",
        "oc.deprecated:",
        "HOME",
        "NONE_SUCH",
    ),
    *(
        ".inf",
        ".nan",
        "-1",
        "1e400",
        "0x",
        "0o7",
        "1_0",
        "2001-01-01",
        "true",
        "null",
        "9" * 30,
        "é",
        "\u2028",
    ),
    *("data", "root", "views", "run_root", "train.seed", "tune", "push", "inference", "scales", "trial", "a"),
]
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=14).map("".join)
LEAVES = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.lists(st.floats(), max_size=3),
    )
)
GROUPS = [name for name, value in RunConfig() if not isinstance(value, str | Path)]


@st.composite
def overrides(draw: st.DrawFn) -> str:
    """A setting that there is, most often, and anything for its value."""
    group = draw(st.sampled_from(GROUPS))
    name = draw(st.sampled_from([name for name, _ in getattr(RunConfig(), group)]))
    key = draw(st.sampled_from([f"{group}.{name}", group, "run_root", "trial", "skeleton", draw(TEXT)]))
    return f"{key}={draw(st.one_of(TEXT, LEAVES.map(str)))}"


def _bounded(begun: list[float]) -> bool:
    """Whether there is time for one more."""
    begun.append(time.monotonic())
    return begun[-1] - begun[0] < SECONDS


def _load(files: list[Path], texts: list[str]) -> None:
    """Either settings that can be printed, or the user's mistake in lines of a bounded length."""
    try:
        print_config(load_config(files, texts))
    except UserError as error:
        lines = str(error).splitlines()
        assert lines
        assert max(map(len, lines)) <= LONGEST_LINE + len(" ... ") + 100
        assert len(lines) == 1 or lines[0].endswith("mistakes in the configuration:")


ALWAYS = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def test_a_command_line_of_anything() -> None:
    begun: list[float] = []

    @ALWAYS
    @given(st.lists(st.one_of(overrides(), TEXT), max_size=3))
    def fuzz(texts: list[str]) -> None:
        if _bounded(begun):
            _load([], texts)

    fuzz()
    assert len(begun) > 20


def test_a_file_of_anything(tmp_path: Path) -> None:
    begun: list[float] = []
    path = tmp_path / "some.yaml"

    @ALWAYS
    @given(st.one_of(TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=40)))
    def fuzz(data: bytes) -> None:
        if _bounded(begun):
            path.write_bytes(data)
            _load([path], [])

    fuzz()
    assert len(begun) > 20


@pytest.mark.slow
def test_twenty_seconds_of_anything(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"

    @settings(ALWAYS, derandomize=False, max_examples=100)
    @given(TEXT, st.lists(st.one_of(overrides(), TEXT), max_size=4))
    def fuzz(text: str, texts: list[str]) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        _load([path], texts)

    begun = time.monotonic()
    while time.monotonic() - begun < 20:
        fuzz()
