"""What a benchmark says of itself, for its row of docs/performance.md."""

from collections.abc import Callable
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

T = TypeVar("T")
ROUNDS = 20


def timed(
    benchmark: BenchmarkFixture,
    work: str,
    function: Callable[[], T],
    *,
    case: str = "",
    target: str = "",
    rounds: int = ROUNDS,
    warm: int = 2,
) -> T:
    """Time a function; its row has the least and the median of the rounds in milliseconds.

    Args:
        work: what is done, one row (or one line of rows with a `case` each).
        case: of how many people, of what size.
        target: what the row is held against, as text.

    Returns what the last call did.
    """
    benchmark.group = work
    benchmark.extra_info.update(case=case, target=target, unit="ms")
    return benchmark.pedantic(function, warmup_rounds=warm, rounds=rounds)


def figure(
    benchmark: BenchmarkFixture,
    work: str,
    measure: Callable[[], float],
    *,
    unit: str,
    case: str = "",
    target: str = "",
) -> float:
    """A row whose figure is what `measure`, called once, returns."""
    benchmark.group = work
    value = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(case=case, target=target, unit=unit, value=value)
    return value
