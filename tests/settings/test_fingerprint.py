"""Each setting's mark: that it is there, and that it is true of the names of shards, runs and evaluations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from pydantic.fields import FieldInfo

from hgg.settings import WEIGHTS, Decides, Settings, group_of, mark_of, setting
from pipeline.data.samples import plan_samples
from pipeline.evaluation.parts import plan_evaluation
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import described, described_groups, fingerprint
from pipeline.training import stage
from pipeline.training.stage import plan_stage
from tests.cases.names import lay_out

CHECKED = Decides.SAMPLES | WEIGHTS | Decides.EVALUATION
# Where one more, or half as much, would not be taken.
OTHERS: dict[tuple[str, ...], Any] = {
    ("network", "input_size"): 256,
    ("candidates", "window"): 7,
    ("skeleton",): "crowdpose",
    ("network", "backbone"): "resnet",
    ("network", "encoder"): {"depths": (1, 1)},
}
OF_ENCODERS = {("network", name) for name in ("encoder", "weights", "frozen_stages")}
HOW = (
    "bears no mark: write it as `name: type = setting(default, DECIDES, since=TODAY, before=VALUE, ...)` "
    "(hgg/settings.py). DECIDES is what comes out otherwise where it is changed, NOTHING where it only says "
    "how a run is watched, kept or placed. VALUE is what it was, as JSON, in runs made before: where it "
    "stands at that, all that was made before is known again"
)

Way = tuple[str, ...]
"""Names from the outermost group to a setting."""


def _settings(
    group: type[Settings], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting with the way to it."""
    for name, field in group.model_fields.items():
        below = group_of(field)
        if below is None:
            yield (*above, name), field
        else:
            yield from _settings(below, (*above, name))


ALL = dict(_settings(RunConfig))


def test_every_setting_bears_a_mark() -> None:
    assert len(ALL) > 120
    for path, field in ALL.items():
        assert mark_of(field) is not None, f"{'.'.join(path)} {HOW}"


def _other(value: Any, field: FieldInfo, folder: Path) -> Any:
    """Another value of the same kind; nobody checks here whether it makes sense."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return next(each for each in get_args(kind) if each != value)
    if kind in (Path, Path | None):
        return folder / "other"
    if kind == float | None:
        return 0.5
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return tuple(2 * each for each in value)
    return value / 2 + 0.001 if isinstance(value, float) else value + 1 if isinstance(value, int) else "other"


def _changed(config: Settings, path: Way, value: Any) -> Any:
    name, *rest = path
    inner = _changed(getattr(config, name), tuple(rest), value) if rest else value
    return config.model_copy(update={name: inner})


def _names(config: RunConfig) -> dict[Decides, str]:
    """What shards, runs and an evaluation are known by."""
    lay_out(config)
    if config.train.pretrained is not None:
        config.train.pretrained.write_bytes(b"weights")
    records = config.run_root / "records" / config.data.val_split
    return {
        Decides.SAMPLES: fingerprint(plan_samples(config, config.data.train_split).settings),
        Decides.PRETRAIN: plan_stage(config, "pretrain").name,
        Decides.JOINT: plan_stage(config, "joint").name,
        Decides.EVALUATION: plan_evaluation(config, Path("m.pt"), "", records).folder.name,
    }


def _weights(folder: Path, named: str) -> Path | None:
    """What an encoder begins with, as if it had been fetched."""
    (folder / "encoder.pt").write_text(named)
    return folder / "encoder.pt" if named else None


@pytest.mark.parametrize("path", [path for path in ALL if path[0] not in ("ablation", "tune")], ids=".".join)
def test_a_setting_changes_the_names_of_what_it_decides(
    path: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    monkeypatch.setattr(stage, "kept_weights", lambda config: _weights(tmp_path, config.network.weights))
    field = ALL[path]
    mark = mark_of(field)
    assert mark is not None
    config = RunConfig.model_validate({"run_root": tmp_path / "one", "data": {"root": tmp_path / "data"}})
    if path in OF_ENCODERS:
        config = _changed(config, ("network", "backbone"), "resnet")
    before = _names(config)
    value: Any = config
    for name in path:
        value = getattr(value, name)
    changed = _changed(config, path, OTHERS.get(path) or _other(value, field, tmp_path))
    after = _names(changed.model_copy(update={"run_root": tmp_path / "two"}))
    # A stage's settings decide the stage that they are of.
    own = {"pretrain": Decides.PRETRAIN, "joint": Decides.JOINT}.get(path[0], CHECKED)
    differ = Decides(0)
    for what, name in before.items():
        differ |= what if after[what] != name else Decides(0)
    assert differ == mark.decides & own & CHECKED


class _Inner(Settings):
    """A group."""

    old: int = setting(1, WEIGHTS)
    new: int = setting(5, WEIGHTS, since="2030-01-01", before=0)


class _Outer(Settings):
    """A group that came later, and one that was always there."""

    inner: _Inner = _Inner()
    later: _Inner = setting(_Inner(), WEIGHTS, since="2030-01-01", before={"old": 1, "new": 5})


def test_what_came_later_is_left_out_at_its_value_of_before() -> None:
    assert described(_Outer(inner=_Inner(new=0))) == {"inner": {"old": 1}}
    assert described(_Outer()) == {"inner": {"old": 1, "new": 5}}
    assert described(_Outer(later=_Inner(old=2))) == {
        "inner": {"old": 1, "new": 5},
        "later": {"old": 2, "new": 5},
    }
    assert described(_Outer(), Decides.EVALUATION) == {}


def test_a_later_setting_that_decides_nothing_else_is_left_out_of_its_group() -> None:
    """So a sweep, whose trials are scored as they train, goes on with people suppressed otherwise."""
    but = Decides.EVALUATION | Decides.PICTURES
    plain, other = (RunConfig.model_validate({"grouping": {"suppression": value}}) for value in (0.9, 0.5))
    assert described_groups(plain, but=but) == described_groups(other, but=but)
    assert described_groups(plain) != described_groups(other)
    assert described(plain.grouping, Decides.EVALUATION) != described(other.grouping, Decides.EVALUATION)
    assert described(plain.grouping, Decides.JOINT) == described(other.grouping, Decides.JOINT)


def test_groups_that_decide_nothing_else_are_left_out() -> None:
    groups = {name for name, field in RunConfig.model_fields.items() if group_of(field) is not None}
    # A sweep at its defaults is left out as what came later.
    config = RunConfig.model_validate({"tune": {"trials": 3}})
    assert groups - described_groups(config).keys() == {"tracking", "ablation", "predict", "serve"}
    without = described_groups(config, but=Decides.EVALUATION | Decides.PICTURES)
    assert groups - without.keys() == {
        *("tracking", "ablation", "predict", "serve", "evaluate", "inference", "synthetic")
    }
