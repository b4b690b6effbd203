"""Registration: versions with figures, and a champion that only a better one on the same data replaces."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException

import hgg
from hgg.weights import load_model
from pipeline.base.errors import UserError
from pipeline.base.files import write_json
from pipeline.commands.evaluate import run_evaluation
from pipeline.commands.register import register
from pipeline.evaluation.trained import model_file
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config
from pipeline.tracking import registry
from pipeline.tracking.registry import CHALLENGER, CHAMPION, Version, champion, fetch, judge, settle
from pipeline.tracking.store import open_store, store_uri
from tests.cases.evaluation import make_records, save_untrained, write_coco

# MLflow warns itself of its own types when its models are imported, and hides that in its own way.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run root with an untrained model and its evaluation."""
    root = tmp_path_factory.mktemp("registry")
    write_coco(root / "data", "val2017", [[(20.0, 20.0)], [(50.0, 30.0), (75.0, 40.0)]])
    values = {
        "run_root": root / "run",
        "data": {"root": root / "data"},
        "network": NETWORK,
        "evaluate": {"runtime_images": 0, "pictures": 0},
    }
    config = RunConfig.model_validate(values)
    make_records(config, "val2017")
    save_untrained(config)
    run_evaluation(config)
    return config


def _named(config: RunConfig, name: str) -> RunConfig:
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"model": name})})


def _with_ap(config: RunConfig, ap: float, data: str = "") -> None:
    """The evaluation as if it had measured this."""
    path = config.run_root / "evaluate" / "results.json"
    results = json.loads(path.read_text())
    results["ap"]["hgg"]["AP"] = ap
    write_json(path, results | ({"data": data} if data else {}))


@pytest.mark.parametrize("order", [(0.3, 0.5), (0.5, 0.3)])
def test_the_better_model_is_the_champion_in_either_order(
    config: RunConfig, order: tuple[float, float]
) -> None:
    config = _named(config, f"order-{order[0]}")
    registered = []
    for ap in order:
        _with_ap(config, ap)
        registered.append(register(config, None, dry_run=False))
    assert [each["version"] for each in registered] == [1, 2]
    client = open_store(config)
    best = 1 + order.index(max(order))
    assert int(client.get_model_version_by_alias(config.tracking.model, CHAMPION).version) == best
    assert registered[0]["verdict"] == "there was no champion"
    assert f"AP {order[1]:.4f} against {order[0]:.4f} of version 1" in registered[1]["verdict"]
    assert registered[1]["alias"] == (CHAMPION if best == 2 else CHALLENGER)
    if best == 1:
        assert client.get_model_version_by_alias(config.tracking.model, CHALLENGER).version == 2
    version = client.get_model_version(config.tracking.model, "2")
    assert float(version.tags["ap"]) == order[1]
    assert f"| HGG | {order[1]:.3f} |" in (version.description or "")
    assert "models:/" in (version.description or "")
    run = json.loads((config.run_root / "evaluate" / "results.json").read_text())["mlflow_run"]
    experiment = client.get_run(run).info.experiment_id
    link = f"[report.html](#/experiments/{experiment}/runs/{run}/artifacts/report.html)"
    assert link in (version.description or "")
    assert registry.artifact_page(client, run, "gone.html") == ""
    assert registry.artifact_page(client, "0" * 32, "report.html") == ""


def test_other_data_do_not_compare(config: RunConfig) -> None:
    config = _named(config, "data")
    _with_ap(config, 0.1, "aaaaaaaaaaaa")
    register(config, None, dry_run=False)
    _with_ap(config, 0.9, "bbbbbbbbbbbb")
    second = register(config, None, dry_run=False)
    assert second["alias"] == CHALLENGER
    assert "measured on data aaaaaaaaaaaa, this on bbbbbbbbbbbb" in second["verdict"]


def test_a_dry_run_changes_nothing(config: RunConfig) -> None:
    config = _named(config, "dry")
    _with_ap(config, 0.4)
    said = register(config, None, dry_run=True)
    assert said["verdict"] == "there was no champion"
    assert said["version"] is None
    assert open_store(config).search_model_versions("name = 'dry'") == []


def test_a_tie_leaves_the_champion() -> None:
    present = Version(1, 0.5, "d", 0)
    assert judge(Version(2, 0.5, "d", 0), present)[1] is False
    assert judge(Version(2, 0.51, "d", 0), present)[1] is True


@pytest.mark.parametrize("last", [1, 2])
def test_registrations_at_once_leave_the_best(config: RunConfig, last: int) -> None:
    """Both versions are made before either looks for a champion; whoever looks last, the better has it."""
    config = _named(config, f"race-{last}")
    client, name = open_store(config), config.tracking.model
    client.create_registered_model(name)
    for ap in (0.6, 0.2):
        client.create_model_version(name, "file:///nowhere", tags={"ap": repr(ap), "data": "d"})
    # The worst that can happen between another's look and its move: it moves the alias to the worse one.
    client.set_registered_model_alias(name, CHAMPION, "2")
    settle(client, name, last)
    now = champion(client, name)
    assert now is not None
    assert now.number == 1


def test_two_processes_at_once_leave_one_consistent_champion(config: RunConfig, tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline.tracking.registry import settle; from mlflow import MlflowClient\n"
        "c = MlflowClient(tracking_uri=sys.argv[1])\n"
        "v = c.create_model_version('pair', 'file:///nowhere', tags={'ap': sys.argv[2], 'data': 'd'})\n"
        "settle(c, 'pair', int(v.version))"
    )
    client = open_store(config)
    client.create_registered_model("pair")
    uri = f"sqlite:///{config.run_root}/mlflow.db"
    both = [subprocess.Popen([sys.executable, "-c", code, uri, ap]) for ap in ("0.7", "0.3")]
    assert [process.wait(timeout=180) for process in both] == [0, 0]
    now = champion(client, "pair")
    assert now is not None
    assert now.ap == 0.7


def test_an_alias_that_another_moves_at_the_same_moment_is_looked_at_again(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "SETTLE_SECONDS", 0.0)
    client = open_store(config)
    client.create_registered_model("moment")
    version = client.create_model_version("moment", "file:///nowhere", tags={"ap": "0.5", "data": "d"})
    real, refused = client.set_registered_model_alias, []

    def refuse_twice(*arguments: str) -> None:
        if len(refused) < 2:
            refused.append(arguments)
            raise MlflowException("UNIQUE constraint failed: registered_model_aliases")
        real(*arguments)

    monkeypatch.setattr(client, "set_registered_model_alias", refuse_twice)
    assert settle(client, "moment", int(version.version)) == ("there was no champion", True)
    assert len(refused) == 2
    refused[:] = []
    monkeypatch.setattr(registry, "SETTLE_TRIES", 1)
    client.delete_registered_model_alias("moment", CHAMPION)
    with pytest.raises(MlflowException, match="UNIQUE"):
        settle(client, "moment", int(version.version))


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("/../../../zz", "is no SHA-256 of weights"),
        ("", "is no SHA-256 of weights"),
        ("0" * 64, "changed since they were registered"),
    ],
)
def test_weights_are_those_that_the_tag_names(config: RunConfig, tag: str, complaint: str) -> None:
    config = _named(config, f"tag-{tag[:1] == '0'}-{len(tag)}")
    _with_ap(config, 0.5)
    register(config, None, dry_run=False)
    open_store(config).set_model_version_tag(config.tracking.model, "1", "sha256", tag)
    before = set(config.run_root.rglob("registered/*"))
    with pytest.raises(UserError, match=complaint):
        fetch(config, f"models:/{config.tracking.model}/1")
    assert set(config.run_root.rglob("registered/*")) == before


def test_a_registered_model_stands_wherever_a_checkpoint_does(config: RunConfig) -> None:
    config = _named(config, "fetched")
    _with_ap(config, 0.5)
    register(config, None, dry_run=False)
    chosen = load_config([], ["evaluate.checkpoint=models:/fetched@champion"]).evaluate
    assert str(chosen.checkpoint) == "models:/fetched@champion"
    fetched = model_file(config.model_copy(update={"evaluate": chosen}))
    assert fetched == fetch(config, "models:/fetched/1")
    trained = load_model(config.run_root / "joint" / "best.pt").state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in load_model(fetched).state_dict().items())
    with pytest.raises(UserError, match=r"models:/fetched@best: not in sqlite.*jobs/register\.py"):
        fetch(config, "models:/fetched@best")


def test_hgg_load_takes_the_champion_of_the_store_that_the_environment_names(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _named(config, "loaded")
    _with_ap(config, 0.4)
    register(config, None, dry_run=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    people = hgg.load("models:/loaded@champion", device="cpu")(np.zeros((40, 60, 3), np.uint8))
    assert len(people.names) == 17
    assert list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    "uri", ["models:/hgg", "models:/hgg/", "models:/hgg/latest", "models:/hgg@", "models:/"]
)
def test_a_model_without_its_version_is_told_how_to_name_one(config: RunConfig, uri: str) -> None:
    with pytest.raises(
        UserError, match=rf"^{uri}: names no version: write models:/hgg@champion, or .*/hgg/3$"
    ):
        fetch(config, uri)


def test_predict_takes_the_champion_in_an_empty_folder(
    config: RunConfig, tmp_path: Path, repository: Path
) -> None:
    config = _named(config, "served")
    _with_ap(config, 0.5)
    register(config, None, dry_run=False)
    import cv2

    cv2.imwrite(str(tmp_path / "one.png"), np.full((64, 80, 3), 90, np.uint8))
    done = subprocess.run(
        [
            *(sys.executable, str(repository / "jobs" / "predict.py"), "--model", "models:/served@champion"),
            *("--source", "one.png", "--out", "people"),
        ],
        cwd=tmp_path,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{config.run_root}/mlflow.db"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "people" / "people.json").is_file()
    assert "Warning" not in done.stderr


def test_an_evaluation_is_needed_and_named(config: RunConfig) -> None:
    with pytest.raises(UserError, match=r"--run=0000: the evaluation in .* is of run"):
        register(config, "0000", dry_run=True)
    elsewhere = config.model_copy(update={"trial": "other"})
    with pytest.raises(UserError, match=r"joint/best\.pt: no model there"):
        register(elsewhere, None, dry_run=True)


LOAD = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model(sys.argv[1])"


@pytest.mark.slow
def test_predict_runs_none_of_the_code_that_is_stored_beside_a_model(
    config: RunConfig, tmp_path: Path, repository: Path
) -> None:
    config = _named(config, "code")
    _with_ap(config, 0.5)
    register(config, None, dry_run=False)
    client = open_store(config)
    place = Path(client.get_model_version_download_uri("code", "1").removeprefix("file://"))
    for path in place.rglob("*.py"):
        path.write_text(
            f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n" + path.read_text()
        )
    import cv2

    cv2.imwrite(str(tmp_path / "one.png"), np.full((64, 80, 3), 90, np.uint8))
    predict = [str(repository / "jobs" / "predict.py"), "--model", "models:/code@champion"]
    for command, runs in (
        ([*predict, "--source", "one.png", "--out", "people"], False),
        (["-c", LOAD, str(place)], True),
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{config.run_root}/mlflow.db"},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert runs or done.returncode == 0, done.stderr
        assert (tmp_path / "ran").exists() == runs
