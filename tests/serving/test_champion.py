"""An endpoint that serves a registered model's alias, and follows it where it goes."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from hgg.model import HGG
from hgg.pictures import encode_jpeg
from hgg.weights import save_model
from pipeline.base.files import sha256_file
from pipeline.settings.config import RunConfig
from pipeline.tracking.run import Tracked, track
from pipeline.tracking.store import store_uri
from tests.cases.asking import SECONDS, Asking, address_of
from tests.cases.core import tiny_model

# MLflow warns itself of its own types when its models are imported, and hides that in its own way.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


def _register(tracked: Tracked, folder: Path, number: int, model: HGG, *, whole: bool = True) -> None:
    """A version of `hgg`; one that is not whole has weights of another checksum than its tag's."""
    file = folder / "weights.pt"
    save_model(file, model)
    model_id = tracked.model(file, model.config, number).removeprefix("models:/")
    tracked.client.create_model_version(
        "hgg",
        tracked.client.get_logged_model(model_id).artifact_location,
        run_id=tracked.run_id,
        tags={"sha256": sha256_file(file) if whole else "0" * 64},
        model_id=model_id,
    )


@pytest.mark.slow
def test_a_new_champion_of_another_network_is_taken_over_and_a_broken_one_is_not(
    repository: Path, tmp_path: Path
) -> None:
    config = RunConfig(run_root=tmp_path / "run")
    folder = config.run_root / "pretrain"
    folder.mkdir(parents=True)
    loose = {"threshold": 0.02}
    with track(config, "pretrain", folder, {}) as tracked:
        tracked.client.create_registered_model("hgg")
        _register(tracked, folder, 0, tiny_model(0, candidates=loose))
        _register(tracked, folder, 1, tiny_model(1, candidates=loose), whole=False)
        _register(tracked, folder, 2, tiny_model(1, candidates=loose, network={"stacks": 1}))
    client = MlflowClient(tracking_uri=store_uri(config))
    client.set_registered_model_alias("hgg", "champion", "1")
    noise = (
        np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    )
    command = [sys.executable, str(repository / "jobs" / "serve.py"), "--model", "models:/hgg@champion"]
    settings = ["serve.port=0", f"run_root={config.run_root}", "serve.poll_seconds=1"]
    settings += ["train.cpus_per_worker=0.5"]
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen([*command, *settings], stdout=log, stderr=log)
    try:
        with Asking(address_of(tmp_path / "log", job), encode_jpeg(noise, 90)) as asking:
            asking.until("hgg-1")
            client.set_registered_model_alias("hgg", "champion", "2")
            asking.wait(lambda: "were changed" in (tmp_path / "log").read_text())
            assert not any("hgg-2" in name for _, name, _ in asking.answers)
            client.set_registered_model_alias("hgg", "champion", "3")
            asking.until("hgg-3")
    finally:
        job.send_signal(signal.SIGTERM)
        job.wait(SECONDS)
    assert {status for status, _, _ in asking.answers} == {200}
    assert len({(name, text) for _, name, text in asking.answers}) == 2  # each says one thing
    assert "hgg-3" in asking.answers[-1][1]
    warned = [line for line in (tmp_path / "log").read_text().splitlines() if " WARNING " in line]
    assert len(warned) == 1, warned
