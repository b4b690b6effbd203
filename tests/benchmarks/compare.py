"""Time the benchmarks of single pieces on two commits in turn: `make bench-compare REF=...`.

Both run the benchmarks of this checkout, on their own `hgg` and `pipeline`, in the same minutes.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.performance import REPOSITORY, by_work, measure

# Those that need of the other commit no more than hgg and what encodes targets.
PIECES = [
    f"tests/benchmarks/test_{name}.py" for name in ("encoding", "people", "grouping_training", "growth")
]
TURNS = 2  # each is measured so often, in turn, since a shared machine's speed changes

Times = dict[tuple[str, str], float]


def main() -> None:
    """Print the least milliseconds of each piece before (REF) and now, and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description=__doc__)
    parser.add_argument("ref", help="the commit to compare this checkout with")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        _git("worktree", "add", "--detach", "--quiet", str(before), arguments.ref)
        try:
            shutil.rmtree(before / "tests" / "benchmarks", ignore_errors=True)
            shutil.copytree(REPOSITORY / "tests" / "benchmarks", before / "tests" / "benchmarks")
            problems = {piece: _cannot_run(before, piece) for piece in PIECES}
            pieces = [piece for piece, problem in problems.items() if not problem]
            for piece, problem in problems.items():
                if problem:
                    print(f"left out: {arguments.ref} cannot run {piece}: {problem}")
            if not pieces:
                parser.error(f"{arguments.ref} can run none of the benchmarks of this checkout")
            found = _in_turn([before, REPOSITORY], Path(folder), pieces)
        finally:
            _git("worktree", "remove", "--force", str(before))
    print(f"\n{'least ms':70}{arguments.ref[:12]:>12}{'now':>10}{'ratio':>8}")
    for (work, case), was in found[0].items():
        now = found[1][work, case]
        print(f"{f'{work}, {case}':70}{1000 * was:12.2f}{1000 * now:10.2f}{now / was:8.2f}")


def _cannot_run(checkout: Path, piece: str) -> str:
    """The last line of what is wrong where a commit lacks what a benchmark imports; else nothing."""
    module = piece.removesuffix(".py").replace("/", ".")
    command = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2]


def _in_turn(checkouts: list[Path], folder: Path, pieces: list[str]) -> list[Times]:
    found: list[Times] = [{} for _ in checkouts]
    for _ in range(TURNS):
        for times, checkout in zip(found, checkouts, strict=True):
            report = measure(checkout, folder / "benchmarks.json", pieces)
            for work, benchmarks in by_work(report["benchmarks"]).items():
                for benchmark in benchmarks:
                    key = work, benchmark["extra_info"]["case"]
                    times[key] = min(times.get(key, float("inf")), benchmark["stats"]["min"])
    return found


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(REPOSITORY), *arguments], check=True)


if __name__ == "__main__":
    main()
