"""The demo's configuration made small, under a run root of its own, for tests of jobs that train much."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.settings.load import load_config

SECONDS = 300
SMALL = {
    "synthetic.train_images": 24,
    "network.channels": 16,
    "network.depth": 1,
    "network.visual_dim": 8,
    "grouping.hidden": 16,
    "train.num_workers": 0,
    "train.validation_images": 0,
    "pretrain.steps": 4,
    "pretrain.batch_size": 4,
    "joint.batch_size": 4,
}


class Job:
    """Jobs of one run root, as processes.

    Args:
        repository: where they are.
        root: a folder for the run root.
        settings: beside `SMALL`.
    """

    def __init__(self, repository: Path, root: Path, settings: Mapping[str, Any]) -> None:
        self.conf = repository / "conf" / "demo.yaml"
        self.jobs = repository / "jobs"
        self.root = root
        values = SMALL | dict(settings)
        values |= {"run_root": str(root / "run"), "data.root": str(root / "run" / "data")}
        self.overrides = [f"{key}={value}" for key, value in values.items()]
        self.config = load_config([self.conf], self.overrides)

    def command(self, name: str, *arguments: str) -> list[str]:
        """A job's command line."""
        script = str(self.jobs / f"{name}.py")
        return [sys.executable, script, "--config", str(self.conf), *self.overrides, *arguments]

    def call(
        self, name: str, *arguments: str, seconds: float = SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        """A job, run to its end."""
        return subprocess.run(
            self.command(name, *arguments), cwd=self.root, capture_output=True, text=True, timeout=seconds
        )

    def run(self, name: str, *arguments: str) -> tuple[dict[str, Any], str]:
        """The results and log of a job that ends well."""
        done = self.call(name, *arguments)
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    def prepare(self) -> None:
        """Data, samples and the pretrained network."""
        for name in ("synthesize", "preprocess", "pretrain"):
            self.run(name)

    def histories(self, folder: str) -> list[Path]:
        """Histories of the joint trainings below a folder of the run root."""
        return sorted(self.config.run_root.glob(f"{folder}/joint-*/joint/metrics.csv"))
