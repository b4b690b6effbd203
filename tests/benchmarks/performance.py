"""Run all benchmarks and write their table and picture: `make bench`.

docs/performance.md keeps what stands outside its two marks.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import atomic_path, write_text
from tests.benchmarks.test_growth import BY_CANDIDATES, BY_IMAGES

REPOSITORY = Path(__file__).parents[2]
PAGE, PICTURE = REPOSITORY / "docs" / "performance.md", REPOSITORY / "docs" / "performance.png"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
BY_PEOPLE = ("maps to people, AE", "maps to people, HGG")
LARGE = 100  # candidates from which the cost of pairs outweighs what every round costs

Benchmark = dict[str, Any]
Groups = dict[str, list[Benchmark]]


def main() -> None:
    """Measure what is asked for; without a choice, everything, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.performance", description=__doc__)
    parser.add_argument(
        "--json", type=Path, help="a file of pytest-benchmark to write the page from, unmeasured"
    )
    arguments = parser.parse_args()
    if arguments.json:
        report = json.loads(arguments.json.read_text(encoding="utf-8"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            report = measure(REPOSITORY, Path(folder) / "benchmarks.json")
    groups = by_work(report["benchmarks"])
    write_page(PAGE, "\n".join([*_where(report), "", *table(groups), "", *_growth(groups)]))
    draw(groups, PICTURE)
    print(f"written: {PAGE} and {PICTURE}")


def measure(checkout: Path, path: Path, tests: Sequence[str] = ("tests/benchmarks",)) -> dict[str, Any]:
    """What pytest-benchmark says of a checkout's code, kept in a file."""
    command = [sys.executable, "-m", "pytest", *tests, "-o", "addopts=", "-q"]
    command += [f"--benchmark-json={path}", "--benchmark-columns=min,median", "--benchmark-sort=name"]
    if subprocess.run(command, cwd=checkout).returncode:
        raise SystemExit(f"error: a benchmark of {checkout} failed; its output above says which")
    return json.loads(path.read_text(encoding="utf-8"))


def by_work(benchmarks: Iterable[Benchmark]) -> Groups:
    """The benchmarks of each piece of work, in the order in which they ran."""
    groups: Groups = defaultdict(list)
    for benchmark in benchmarks:
        groups[benchmark["group"]].append(benchmark)
    return groups


def table(groups: Groups) -> list[str]:
    """One line a benchmark: least and median time, or its figure, beside the target."""
    lines = ["| work | | least | median | target |", "|---|---|---|---|---|"]
    for work, benchmarks in groups.items():
        for place, benchmark in enumerate(benchmarks):
            facts = benchmark["extra_info"]
            target = (
                f"{facts['target']} {facts['unit']}" if facts["target"][:1].isdigit() else facts["target"]
            )
            cells = (work if place == 0 else "", facts["case"], *_figures(benchmark), target)
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _figures(benchmark: Benchmark) -> tuple[str, str]:
    facts = benchmark["extra_info"]
    if "value" in facts:
        return f"{_short(facts['value'])} {facts['unit']}", ""
    stats = benchmark["stats"]
    return f"{_short(1000 * stats['min'])} ms", f"{_short(1000 * stats['median'])} ms"


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _where(report: Mapping[str, Any]) -> list[str]:
    machine, commit = report["machine_info"], report["commit_info"]
    processor = machine["cpu"].get("brand_raw", machine["processor"])
    changed = " with changes" if commit.get("dirty") else ""
    return [
        f"{processor}, {machine['cpu']['count']} cores; commit {commit['id'][:10]}{changed}, "
        f"{report['datetime'][:10]}; one thread unless it says otherwise."
    ]


def _growth(groups: Groups) -> list[str]:
    number, seconds = curve(groups[BY_CANDIDATES])
    large = number >= LARGE
    exponent = np.polyfit(np.log(number[large]), np.log(seconds[large]), 1)[0]
    images, of_images = curve(groups[BY_IMAGES])
    linear = np.polyfit(np.log(images), np.log(of_images), 1)[0]
    return [
        "![Cost of grouping](performance.png)",
        "",
        f"From {LARGE} candidates on, grouping an image costs as their number to the power of "
        f"{exponent:.2f}; "
        f"grouping a training batch as the number of its images to the power of {linear:.2f} "
        f"(1 to {images.max():.0f} images).",
    ]


def curve(benchmarks: Iterable[Benchmark]) -> tuple[np.ndarray, np.ndarray]:
    """Number in the `case` and least seconds of each benchmark."""
    points = [(float(b["extra_info"]["case"].split()[0]), b["stats"]["min"]) for b in benchmarks]
    number, seconds = np.array(sorted(points)).T
    return number, seconds


def write_page(path: Path, text: str) -> None:
    """Put the text between the page's marks."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(
            f"error: {path}: the marks {BEGIN} and {END} are needed, the table goes between them"
        )
    write_text(path, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def draw(groups: Groups, path: Path) -> None:
    """Cost against people, and against candidates on logarithmic axes, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    people, candidates = figure.subplots(1, 2)
    for work, colour in zip(BY_PEOPLE, ("#d55e00", "#0072b2"), strict=True):
        number, seconds = curve(groups[work])
        people.plot(number, 1000 * seconds, "o-", color=colour, label=work.partition(", ")[2])
    people.set(xlabel="people in the image", ylabel="ms", title="maps of one image to people, one thread")
    people.set_ylim(bottom=0)
    people.legend(frameon=False)
    number, seconds = curve(groups[BY_CANDIDATES])
    candidates.loglog(number, 1000 * seconds, "o-", color="#0072b2")
    candidates.set(xlabel="candidates in the image", ylabel="ms", title="HGG's grouping of one image")
    for panel in (people, candidates):
        panel.grid(alpha=0.3)
        panel.title.set_fontsize(10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


if __name__ == "__main__":
    main()
