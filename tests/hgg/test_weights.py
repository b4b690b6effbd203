"""A model in a file: what comes back, and what is turned away."""

import ast
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgg.config import GroupingConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.skeleton_file import completed, shipped
from hgg.weights import load_model, load_network, save_model
from tests.cases.hostile_models import HUGE, with_setting, write_hostile

SMALL = ModelConfig(
    network=NetworkConfig(
        input_size=32, stacks=1, channels=32, increase=0, depth=1, norm="group", visual_dim=4
    ),
    grouping=GroupingConfig(hidden=8, layers=1),
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tmp_path / "model.pt", HGG(SMALL))
    return tmp_path / "model.pt"


def with_network(**changes: object) -> ModelConfig:
    network = NetworkConfig.model_validate(SMALL.network.model_dump() | changes)
    return SMALL.model_copy(update={"network": network})


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    model = HGG(SMALL)
    save_model(tmp_path / "model.pt", model)
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.config == SMALL
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize("half", [False, True])
def test_the_same_weights_are_the_same_bytes_whatever_the_file_is_called(tmp_path: Path, half: bool) -> None:
    model = HGG(SMALL)
    save_model(tmp_path / "one.pt", model, half=half)
    save_model(tmp_path / ".0f3a.another.pt", model, half=half)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / ".0f3a.another.pt").read_bytes()


def test_thresholds_may_differ_from_the_files(saved: Path) -> None:
    changed = SMALL.model_copy(update={"grouping": SMALL.grouping.model_copy(update={"cut": 0.25})})
    assert load_model(saved, changed).config.grouping.cut == 0.25


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"channels": 64}, "network.channels is 32 in the file and 64 here"),
        ({"norm": "batch"}, "network.norm is group in the file and batch here"),
        ({"stacks": 2}, "network.stacks is 1 in the file and 2 here"),
    ],
)
def test_another_architecture_names_both_settings(saved: Path, change: dict, shown: str) -> None:
    with pytest.raises(ValueError, match="another architecture") as caught:
        load_model(saved, with_network(**change))
    assert shown in str(caught.value)
    assert str(saved) in str(caught.value)


def test_another_architecture_names_both_shapes(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"is \(32, 32, 3, 3\) in the file and \(64, 64, 3, 3\) here"):
        load_model(saved, with_network(channels=64))


def test_a_pretrained_network_enters_a_model_with_other_grouping(saved: Path) -> None:
    wider = SMALL.grouping.model_copy(update={"hidden": 16})
    model = HGG(SMALL.model_copy(update={"grouping": wider}))
    before = {name: value.clone() for name, value in model.grouping.state_dict().items()}
    load_network(saved, model)
    pretrained = load_model(saved).network.state_dict()
    assert all(torch.equal(value, pretrained[name]) for name, value in model.network.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in model.grouping.state_dict().items())


def test_of_a_network_of_other_joints_all_but_its_heads_is_taken_over(saved: Path) -> None:
    crowdpose = SMALL.model_copy(update={"skeleton": "crowdpose"})
    model = HGG(crowdpose)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    left = load_network(saved, model)
    pretrained = load_model(saved).network.state_dict()
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name] if name in left else pretrained[name]), name
    assert 0 < len(left) < len(before) / 4
    # As many joints, but others: heads of equal shape that mean something else.
    named = completed(shipped("coco")).model_dump() | {"names": [*reversed(shipped("coco").names)]}
    turned = HGG(ModelConfig.model_validate(SMALL.model_dump() | {"skeleton": named}))
    assert load_network(saved, turned) == load_network(saved, HGG(crowdpose))
    # The same joints with other constants are the same joints.
    finer = named | {"names": shipped("coco").names, "sigmas": [0.01] * 17}
    assert (
        load_network(saved, HGG(ModelConfig.model_validate(SMALL.model_dump() | {"skeleton": finer}))) == []
    )
    with pytest.raises(
        ValueError, match=r"skeleton is coco .*network\.visual_dim is 4 in the file and 0 here"
    ):
        load_network(saved, HGG(with_network(visual_dim=0).model_copy(update={"skeleton": "crowdpose"})))


def test_a_pretrained_network_of_another_architecture_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"network\.visual_dim is 4 in the file and 0 here; for one"):
        load_network(saved, HGG(with_network(visual_dim=0)))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"format": 1, "config": {}, "model": Malicious()}, tmp_path / "bad.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Malicious()))
    for name in ("bad.pt", "bare.pt"):
        with pytest.raises(ValueError, match="holds code, which is never run"):
            load_model(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_missing_cut_off_and_foreign_files_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load_model(tmp_path / "none.pt")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    with pytest.raises(ValueError, match="cut off"):
        load_model(cut)
    torch.save({"something": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a model of hgg: config, format, model missing"):
        load_model(tmp_path / "other.pt")
    torch.save(torch.zeros(1), tmp_path / "tensor.pt")
    with pytest.raises(ValueError, match="it holds a Tensor"):
        load_model(tmp_path / "tensor.pt")


def test_a_model_that_groups_by_tags_is_stored_without_grouping(tmp_path: Path) -> None:
    grouping = SMALL.grouping.model_copy(update={"decoder": "associative"})
    greedy = SMALL.model_copy(update={"grouping": grouping})
    path = tmp_path / "model.pt"
    save_model(path, HGG(greedy))
    content = torch.load(path, weights_only=True)
    assert content["model"].keys() == {f"network.{name}" for name in HGG(SMALL).network.state_dict()}
    assert load_model(path).config == load_model(path, greedy).config == greedy
    with pytest.raises(ValueError, match=r"grouping\.decoder is associative in the file and hgg here"):
        load_model(path, SMALL)


def test_a_whole_model_may_be_run_with_greedy_grouping(saved: Path) -> None:
    grouping = SMALL.grouping.model_copy(update={"decoder": "associative"})
    greedy = load_model(saved, SMALL.model_copy(update={"grouping": grouping}))
    for name, value in load_model(saved).state_dict().items():
        assert torch.equal(greedy.state_dict()[name], value), name


def test_half_precision_takes_half_the_space_and_comes_back_rounded(tmp_path: Path) -> None:
    model = HGG(SMALL)
    save_model(tmp_path / "whole.pt", model)
    save_model(tmp_path / "half.pt", model, half=True)
    loaded = load_model(tmp_path / "half.pt")
    for name, value in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    sizes = [(tmp_path / name).stat().st_size for name in ("half.pt", "whole.pt")]
    overhead = 500 * len(model.state_dict())  # of the file for each weight
    assert sizes[0] - overhead < 0.5 * sizes[1]


def test_what_half_precision_cannot_hold_stays_whole(tmp_path: Path) -> None:
    """As a variance behind an encoder whose last maps are large."""
    model = HGG(SMALL)
    name, large = next(iter(model.named_parameters()))
    with torch.no_grad():
        large[0] = 1.2345678e5
    save_model(tmp_path / "half.pt", model, half=True)
    kept = torch.load(tmp_path / "half.pt", weights_only=True)["model"]
    kinds = {key: value.dtype for key, value in kept.items() if value.is_floating_point()}
    assert [key for key, kind in kinds.items() if kind != torch.float16] == [name]
    assert torch.equal(load_model(tmp_path / "half.pt").state_dict()[name], large)


def test_a_later_format_is_refused(saved: Path) -> None:
    content = torch.load(saved, weights_only=True) | {"format": 2}
    torch.save(content, saved)
    with pytest.raises(ValueError, match="format 2, this version of hgg reads 1"):
        load_model(saved)


REFUSE = """
import resource, sys, time
from pathlib import Path
from hgg.weights import load_model

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

load_model(Path(sys.argv[1]))  # what loading takes at all
for path in sys.argv[2:]:
    before, begun = peak(), time.perf_counter()
    try:
        load_model(Path(path))
        said = "taken"
    except ValueError as error:
        said = str(error)
    print(peak() - before, time.perf_counter() - begun, repr(said))
"""


def test_files_that_were_made_to_harm_are_refused_in_one_line_and_little_memory(
    saved: Path, tmp_path: Path, repository: Path
) -> None:
    hostile = dict(write_hostile(tmp_path, saved))
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, saved, *hostile.values()],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for (name, path), line in zip(hostile.items(), done.stdout.splitlines(), strict=True):
        mebibytes, seconds, said = line.split(" ", 2)
        text = ast.literal_eval(said)
        assert text.startswith(f"{path}: "), name
        assert "\n" not in text, name
        assert len(text) - len(str(path)) < 600, name
        assert int(mebibytes) < 64, name
        assert float(seconds) < 5, name


@pytest.mark.parametrize("name", HUGE)
def test_a_setting_that_is_too_large_is_named(saved: Path, name: str) -> None:
    torch.save(with_setting(torch.load(saved, weights_only=True), *HUGE[name]), saved)
    group, _, value = HUGE[name]
    with pytest.raises(ValueError, match=rf"settings are not those.*: {group}\.{name}={value}: Input should"):
        load_model(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    model = HGG(SMALL)
    with torch.no_grad():
        model.network.get_parameter("stacks.0.head.bias")[3] = value
    save_model(tmp_path / "model.pt", model)
    with pytest.raises(ValueError, match=r"network\.stacks\.0\.head\.bias holds values that are not finite"):
        load_model(tmp_path / "model.pt")


def test_no_bit_of_a_file_can_be_flipped_unseen(saved: Path) -> None:
    whole = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        members = archive.infolist()
    rng = np.random.default_rng(0)
    for member in rng.choice(np.array(members, dtype=object), 20, replace=False):
        at = member.header_offset + 30 + len(member.filename)
        begin = whole.index(zipfile_content(saved, member.filename), at)
        place, bit = begin + int(rng.integers(member.file_size)), 1 << int(rng.integers(8))
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=str(saved)):
            load_model(saved)
        saved.write_bytes(whole)
    load_model(saved)


def zipfile_content(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def test_weights_are_compared_with_their_checksum(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    next(iter(content["model"].values())).view(-1).view(torch.int32)[0] ^= 1  # one bit
    torch.save(content, saved)
    with pytest.raises(ValueError, match=r"its weights are not those of its checksum"):
        load_model(saved)


@pytest.mark.parametrize("half", [False, True])
def test_a_file_of_before_without_a_checksum_loads_and_says_so(
    tmp_path: Path, half: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path, model = tmp_path / "model.pt", HGG(SMALL)
    save_model(path, model, half=half)
    with caplog.at_level("INFO", logger="hgg"):
        new = load_model(path).state_dict()
        assert caplog.messages == []
        content: dict[str, Any] = torch.load(path, weights_only=True)
        del content["sha256"]
        torch.save(content, path)
        old = load_model(path).state_dict()
    assert caplog.messages == [
        f"{path}: made by a version that kept no checksum of its weights: they are not compared"
    ]
    assert all(torch.equal(value, new[name]) for name, value in old.items())


def said_of(path: Path) -> str:
    """Why a file is refused, nothing where it is not."""
    try:
        load_model(path)
    except ValueError as error:
        return str(error)
    return ""


def test_damaged_files_are_refused_whatever_is_damaged(saved: Path) -> None:
    whole, rng = saved.read_bytes(), np.random.default_rng(1)
    for size in (0, 1, 4, 100, *rng.integers(len(whole), size=10)):
        saved.write_bytes(whole[:size])
        assert "cut off" in said_of(saved)
    # The zip's own table of contents; some of it nobody reads.
    table = whole.rindex(b"PK\x05\x06")
    for place in rng.integers(table - 4000, len(whole) - 3, size=100):
        saved.write_bytes(whole[:place] + rng.bytes(3) + whole[place + 3 :])
        said = said_of(saved)
        assert said == "" or str(saved) in said
        assert "\n" not in said
