"""The whole path on drawn people: data, both training stages, AP of three groupings, pictures."""

import argparse
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.base.errors import Terminated
from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig

STAGES = ("synthesize", "preprocess", "pretrain", "train_joint", "evaluate", "predict")

log = logging.getLogger("jobs.demo")


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the stages one after the other and return what `evaluate` found; a failing stage is the last."""
    settings = [part for file in arguments.config for part in ("--config", str(file))] + arguments.overrides
    begun = time.monotonic()
    for stage in STAGES:
        _run(stage, settings)

    # Not before: this loads torch, and the stages need the memory.
    from pipeline.base.secrets import masked
    from pipeline.commands.evaluate import shown
    from pipeline.tracking.store import store_uri

    results = json.loads((config.run_root / "evaluate" / "results.json").read_text(encoding="utf-8"))
    print(f"\n{shown(results, runtime=False)}\n")
    print(f"pictures: {config.run_root / 'evaluate' / 'pictures'} and {config.run_root / 'predict'}")
    print(f"report:   {config.run_root / 'evaluate' / 'report.html'}")
    store = masked(store_uri(config))
    print(f"runs:     {Path(sys.executable).with_name('mlflow')} ui --backend-store-uri {store}")
    print(f"time:     {_duration(time.monotonic() - begun)}\n")
    return results


def _run(stage: str, settings: list[str]) -> None:
    """One job in a process of its own; its last line goes to stderr, so that stdout ends with the demo's."""
    log.info("demo: %s", stage)
    begun = time.monotonic()
    command = [sys.executable, str(Path(__file__).with_name(f"{stage}.py")), *settings]
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        try:
            code = process.wait()
        except Terminated:
            process.terminate()
            process.wait()
            raise
    if code:
        log.error("demo: %s failed with exit code %d", stage, code)
        raise SystemExit(code if code > 0 else 128 - code)
    log.info("demo: %s took %s", stage, _duration(time.monotonic() - begun))


def _duration(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


if __name__ == "__main__":
    run_job(main, name="demo", description=__doc__ or "")
