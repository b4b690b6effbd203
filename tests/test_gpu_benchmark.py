"""The benchmark for machines with a GPU, tried without one: command, packages, bound, settings."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings.load import load_config
from tests.benchmarks.gpu import measure
from tests.benchmarks.gpu_device import Row, Sizes
from tests.benchmarks.gpu_samples import QUALITY, SIGMA
from tests.benchmarks.gpu_training import training_rows

# What a machine with a GPU is asked to have.
ENOUGH = ("torch", "numpy", "scipy", "pydantic", "opencv-python-headless", "pyarrow")
# Runs a module where some packages are not found. To refuse them aloud would fail who only looks for them.
WITHOUT = """
import runpy, sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {names!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
runpy.run_module({module!r}, run_name="__main__")
"""


def _with_their_requirements(packages: tuple[str, ...]) -> set[str]:
    """Distributions by normalised name, and all that they need."""
    found: set[str] = set()
    ahead = [re.sub(r"[-_.]+", "-", name).lower() for name in packages]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needed = [line for line in requires(name) or [] if "extra ==" not in line]
        except PackageNotFoundError:  # for another system or version
            continue
        ahead += [re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line)[0]).lower() for line in needed]
    return found


@pytest.mark.slow
def test_it_runs_with_few_packages_and_every_row_has_figures(repository: Path) -> None:
    enough = _with_their_requirements(ENOUGH)
    others = [
        module
        for module, of in packages_distributions().items()
        if module.isidentifier()
        and not {re.sub(r"[-_.]+", "-", name).lower() for name in of} & enough
        and module not in {"hgg", "pipeline", "jobs", "tests", "setuptools", "pkg_resources"}
    ]
    assert {"ray", "mlflow", "omegaconf", "pycocotools", "torch_geometric", "matplotlib"} <= {*others}
    code = WITHOUT.format(names=others, module="tests.benchmarks.gpu")
    done = subprocess.run(
        [sys.executable, "-c", code, "--tiny"],
        cwd=repository, env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["part"] for row in rows] == ["inference"] * 4 + ["training"] * 7 + ["precision"]
    assert not any("no_time_left" in row for row in rows)
    for row in rows:
        if row["part"] == "inference":
            assert row["network_ms"] > 0 < row["maps_to_people_ms"]
        elif row["part"] == "training":
            assert row["images_per_second"] > 0 < row["loop_images_per_second"]
            assert 0 <= row["loop_waiting_for_data"] < 1
        else:
            assert len(row["fp32"]) == len(row["bf16"]) == 4


def test_a_row_that_would_end_too_late_is_not_begun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("tests.benchmarks.gpu.time.perf_counter", lambda: clock[0])

    def work(seconds: float) -> dict[str, Any]:
        clock[0] += seconds
        return {"took": seconds}

    rows = [
        ("a", Row({"row": n}, seconds, lambda s=seconds: work(s))) for n, seconds in enumerate((50, 60, 30))
    ]
    measure(rows, until=100.0)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("took", "none") for row in found] == [50, "none", 30]
    assert found[1]["no_time_left"] is True


def test_it_measures_what_conf_coco_trains(tmp_path: Path, repository: Path) -> None:
    config, sizes = load_config([repository / "conf" / "coco.yaml"], []), Sizes()
    assert sizes.network == config.network
    assert sizes.threads == config.train.loader_workers
    assert (config.data.sigma, config.data.jpeg_quality) == (SIGMA, QUALITY)
    first = training_rows(tmp_path, sizes)[0].what
    assert (first["bf16"], first["compile"], first["ema"]) == (
        config.train.bf16, config.train.compile, config.train.ema,
    )  # fmt: skip
