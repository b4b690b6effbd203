"""Reading, merging and checking of settings, and the way back to text."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hgg.config import NetworkConfig
from pipeline.base.errors import UserError
from pipeline.base.provenance import REPOSITORY
from pipeline.settings.config import RunConfig
from pipeline.settings.fingerprint import fingerprint
from pipeline.settings.load import changed, load_config, print_config

CONF = REPOSITORY / "conf"


def _mistake(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_config([path], overrides)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_files_in_order_then_overrides(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("data: {views: 1, sigma: 1.0, seed: 5}\n")
    two.write_text("data: {views: 2, sigma: 1.25}\nnetwork:\n  # nothing but this comment\n")
    config = load_config([one, two], ["data.views=3", "network.norm=group"])
    assert (config.data.views, config.data.sigma, config.data.seed) == (3, 1.25, 5)
    assert config.network == NetworkConfig(norm="group")


@pytest.mark.parametrize("number", ["1e-5", "1E-5", "1.0e-05", "0.00001"])
def test_scientific_notation_is_a_number_everywhere(tmp_path: Path, number: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(f"loss: {{edge: {number}}}\n")
    config = load_config([path], [f"loss.macro={number}"])
    assert config.loss.edge == config.loss.macro == 1e-5


def test_paths_become_absolute_where_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    config = load_config([], ["data.root=data", "run_root=~/runs", "evaluate.checkpoint=/abs/best.pt"])
    assert config.data.root == tmp_path / "data"
    assert config.run_root == Path("/home/someone/runs")
    assert config.evaluate.checkpoint == Path("/abs/best.pt")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.rooot=x", "data.rooot is not a setting: did you mean data.root?"),
        ("dta.views=2", "dta.views is not a setting: did you mean data.views?"),
        ("train.lrr=1", "train.lrr is not a setting: did you mean pretrain.lr?"),
        ("lr=1", "lr is not a setting: did you mean pretrain.lr or joint.lr or tune.lr?"),
        ("xyzzy=1", "xyzzy is not a setting: --print-config lists all settings"),
        ("data.root.deep=1", "data.root={'deep': 1}: input is not a valid path"),
        ("data=3", "data=3: is a group: set what is in it, as data.root=..."),
        ("data.views=many", "data.views=many: input should be a valid integer"),
        ("data.views=true", "data.views=True: must be a number, not true or false"),
        ("data.views=", "data.views=None: input should be a valid integer"),
        ("data.sigma=-1", "data.sigma=-1: input should be greater than 0"),
        ("data.root=gs://bucket/coco", "data.root=gs://bucket/coco: must be a path or s3://bucket/folder"),
        ("network.norm=layer", "network.norm=layer: input should be 'batch', 'group' or 'none'"),
        ("data.scale_min=3", "data: scale_min=3.0 is above scale_max=1.25"),
        ("train.num_workers=3", "pretrain.batch_size=32 does not divide by train.num_workers=3"),
        (
            "inference.scales=[0]",
            "inference: scales=[0.0]: each must be a number above 0, as in [0.5, 1.0, 2.0]",
        ),
        ("inference.scales=[1,9]", "inference: scales=[1.0, 9.0]: each must be at most 8"),
        ("network.stacks=17", "network.stacks=17: input should be less than or equal to 16"),
        ("inference.scales=[1,-2]", "inference: scales=[1.0, -2.0]: each must be a number above 0"),
        ("inference.scales=[1,.inf]", "inference.scales[1]=inf: input should be a finite number"),
        ("inference.scales=[]", "inference: scales=[]: 1.0 must be among them, as tags are read there"),
        ("inference.scales=[0.5,2]", "inference: scales=[0.5, 2.0]: 1.0 must be among them"),
        ("inference.scales=[1,2,1]", "inference: scales=[1.0, 2.0, 1.0]: name each scale once"),
        ("inference.scales=[1,big]", "inference.scales[1]=big: input should be a valid number"),
        ("inference.scales=[true]", "inference.scales=[True]: must be a number, not true or false"),
        ("inference.scales=0", "inference.scales=0: input should be a valid tuple"),
        ("inference.resize=both", "inference.resize=both: input should be 'long' or 'short'"),
        ("data.views", "data.views: write settings as key.sub=value"),
        ("data.views=[1", "data.views=[1: not a YAML value: "),
        ("data.views=${nothing}", "data.views: Interpolation key 'nothing' not found"),
        ("data.root=${", "data.root: no viable alternative at input '${'"),
        ("data.root=${oc.env:}", "data.root: TypeError raised while resolving interpolation: env()"),
        ("data.root=${oc.env:MISSING_HERE}", "data.root: KeyError raised while resolving interpolation"),
        ("data.root=${data.root}", "data.root: Recursive interpolation detected"),
        ("data.root=${oc.create:{a: 1}}", "data.root={'${oc.create:{a': '1}}'}: input is not a valid path"),
        ("data=${oc.dict.keys:data}", "data"),
        ("data.views=" + "[" * 3000, "data.views=[[[["),
        ("a." * 3000 + "b=1", "a.a.a.a."),
        ("data.views=" + "9" * 5000, "data.views=9999"),
        ("data.views=0x_", "data.views=0x_: not a YAML value: invalid literal for int()"),
        ("[=1", "[=1: not a YAML value: "),
        ("pretrain.lr=inf", "pretrain.lr=inf: input should be a finite number"),
        ("joint.lr=.nan", "joint.lr=nan: input should be a finite number"),
        ("loss.push=1e400", "loss.push=inf: input should be a finite number"),
        ("tune.push=[0.1,.inf]", "tune.push[1]=inf: input should be a finite number"),
        ("data.seed=-1", "data.seed=-1: input should be greater than or equal to 0"),
        ("train.seed=-1", "train.seed=-1: input should be greater than or equal to 0"),
        (f"train.seed={2**63}", f"train.seed={2**63}: must be between -{2**63 - 1} and {2**63 - 1}"),
        (f"evaluate.seed={2**63}", f"evaluate.seed={2**63}: must be between "),
        (f"synthetic.seed={2**63}", f"synthetic.seed={2**63}: must be between "),
        (f"tune.seed={2**32}", f"tune.seed={2**32}: input should be less than or equal to {2**32 - 1}"),
        (f"pretrain.steps={10**30}", f"pretrain.steps={10**30}: must be between "),
        ("run_root=" + "r" * 300, f"run_root={'r' * 300}: a name in it has 300 bytes; 255 is the most"),
        ("run_root=" + "ü" * 200, f"run_root={'ü' * 200}: a name in it has 400 bytes"),
        ("data.root=/" + "a/" * 2000, "data.root=/a/a/"),
        ("data.root=~nobody-here/data", "data.root=~nobody-here/data: that user has no home folder here"),
        ('data.root="a\\0b"', "data.root=a\0b: holds what no path can hold"),
        ("trial=" + "a" * 300, "trial=aaaa"),
    ],
)
def test_a_single_mistake_is_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config([], [override])
    text = str(caught.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert len(text) < 700


def test_batch_normalisation_needs_more_than_one_value() -> None:
    small = ["network.input_size=64", "train.num_workers=2", "joint.batch_size=2"]
    with pytest.raises(
        UserError, match=r"^joint\.batch_size=2: one image a worker leaves network\.norm=batch"
    ):
        load_config([], small)
    together = "train.sync_batchnorm=true"
    others = ("network.norm=none", "network.depth=3", "joint.batch_size=4", "train.num_workers=1", together)
    for other in others:
        load_config([], [*small, other])
    with pytest.raises(UserError, match=r"joint\.batch_size=1: one image a worker"):
        load_config([], [*small, together, "train.num_workers=1", "joint.batch_size=1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:\n  rooot: x\n", "some.yaml: data.rooot is not a setting: did you mean data.root?"),
        ("data: {views: x}", "some.yaml: data.views=x: input should be a valid integer"),
        ("data: {views: 1, views: 2}", "some.yaml: not YAML: line 1: found duplicate key views"),
        ("data: [1", "some.yaml: not YAML: line 2: did not find expected"),
        ("data:\n\troot: x", "some.yaml: not YAML: line 2: found character that cannot start any token"),
        ("- 1\n- 2", "some.yaml: not a mapping"),
        ("3", "some.yaml: not a mapping"),
        ("data.root: x", "some.yaml: data.root: files nest groups: write data: {root: ...}"),
        ("data: {1: 2}", "some.yaml: data.1 is not a setting"),
        ("~: 1", "some.yaml: Incompatible key type 'NoneType'"),
        ("data: {views: !!set {a}}", "some.yaml: data.views: Value 'set' is not a supported primitive type"),
        ("data: {root: '${'}", "some.yaml: data.root: no viable alternative at input"),
        # At 1,000 the parser of newer PyYAMLs says so itself, in other words.
        ("a: " + "[" * 900 + "]" * 900, "some.yaml: more than 50 groups or lists in one another"),
        ("{a: " * 100_000, "some.yaml: more than 50 groups or lists in one another"),
        ("#" * (1 << 20) + "\na: 1", "some.yaml: larger than 1048576 bytes"),
        (
            "a: &a [1]\nb: &b [" + "*a," * 2000 + "]\nc: [" + "*b," * 2000 + "]",
            "some.yaml: not YAML: line 1: YAML",
        ),
        ("data: &data {root: *data}", "some.yaml: not YAML: line 1: YAML recursive aliases"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    found = _mistake(tmp_path, text)
    assert found.startswith(message)
    assert "\n" not in found


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load_config([tmp_path / "none.yaml"])
    with pytest.raises(UserError, match="Is a directory"):
        load_config([tmp_path])
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match=r"picture\.yaml: not YAML"):
        load_config([tmp_path / "picture.yaml"])


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = _mistake(
        tmp_path,
        "data: {rooot: x, sigma: -1}\nnetwork: {input_size: 100}\n",
        "candidates.window=4",
        "train.num_workers=3",
        "pretrain.lr=fast",
    )
    lines = text.splitlines()
    assert lines[0] == "6 mistakes in the configuration:"
    assert [re.split("[ =:]", line.strip().removeprefix("some.yaml: "))[0] for line in lines[1:]] == [
        "data.rooot",
        "data.sigma",
        "network",
        "candidates",
        "pretrain.lr",
        "pretrain.batch_size",
    ]


def test_a_wrong_value_is_not_also_blamed_with_its_default() -> None:
    # With the default scale_min of 0.75 in the place of the wrong one, scale_max would be too small.
    with pytest.raises(UserError) as caught:
        load_config([], ["data.scale_min=abc", "data.scale_max=0.5"])
    assert "\n" not in str(caught.value)


def test_printed_configuration_reads_back_as_it_was(tmp_path: Path) -> None:
    overrides = [
        "loss.edge=1e-7",
        "data.root='a folder: with, $signs #1'",
        "evaluate.checkpoint=x.pt",
        "data.seed=3",
        "inference.scales=[2,1,1e-5]",
    ]
    config = load_config([], overrides)
    path = tmp_path / "config.yaml"
    path.write_text(print_config(config), encoding="utf-8")
    assert load_config([path]) == config


def test_printed_configuration_explains_every_setting() -> None:
    lines = print_config(RunConfig()).splitlines()
    settings = [number for number, line in enumerate(lines) if line and not line.lstrip().startswith("#")]
    assert len(settings) > 60
    for number in settings:
        assert lines[number - 1].lstrip().startswith("# "), lines[number]
    assert "  # Side of the square network input in pixels (implementation details: 512)." in lines


def test_changed_holds_the_differences_alone() -> None:
    assert changed(load_config([])) == {}
    assert changed(load_config([], ["data.views=2", "loss.edge=1e-5", "tracking.experiment=x"])) == {
        "data.views": 2,
        "tracking.experiment": "x",
    }


def test_fingerprint_depends_on_values_and_not_on_order() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2.5, "d": None}}) == fingerprint(
        {"b": {"d": None, "c": 2.5}, "a": 1}
    )
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(RunConfig()))
    assert fingerprint(NetworkConfig()) == fingerprint(NetworkConfig(stacks=4))
    assert fingerprint(NetworkConfig()) != fingerprint(NetworkConfig(stacks=3))
    # `sha256sum` of {"a":1}: a fingerprint means the same on every machine and in every year.
    assert fingerprint({"a": 1}) == "015abd7f5cc5"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid_differences_under_a_reason(path: Path) -> None:
    config = load_config([path])
    given = OmegaConf.to_container(OmegaConf.load(path))
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert isinstance(given, dict)
    assert len(changed(config)) >= 3


def test_coco_is_the_paper() -> None:
    config = load_config([CONF / "coco.yaml"])
    assert (config.network.stacks, config.network.channels, config.network.input_size) == (4, 256, 512)
    loss = config.loss
    assert (loss.heatmap, loss.push, loss.pull, loss.edge, loss.macro) == (1.0, 1e-3, 1e-3, 1e-5, 1e-5)
    assert loss.heatmap_foreground_weight == 0.0
    assert (config.pretrain.lr, config.joint.lr, config.pretrain.batch_size) == (2e-4, 2e-4, 32)
    assert config.data.sigma == config.network.output_size / 64


def test_a_mistake_inside_a_list_hides_no_other_and_names_its_file(tmp_path: Path) -> None:
    text = _mistake(tmp_path, "inference: {scales: [a, 1, b]}\n", "data.sigma=-1", "train.num_workers=3")
    assert text.replace(", unable to parse string as a number", "").splitlines() == [
        "4 mistakes in the configuration:",
        "  data.sigma=-1: input should be greater than 0",
        "  some.yaml: inference.scales[0]=a: input should be a valid number",
        "  some.yaml: inference.scales[2]=b: input should be a valid number",
        "  pretrain.batch_size=32 does not divide by train.num_workers=3",
    ]


def test_interpolations_that_double_one_another_are_refused_before_they_are_resolved() -> None:
    doubled = [f"a{n}=${{a{n - 1}}}${{a{n - 1}}}" for n in range(1, 60)]
    with pytest.raises(UserError, match=r"^a\d+: its interpolations make more than 1048576 characters"):
        load_config([], ["a0=0123456789", *doubled])
    config = load_config([], ["trial=twice", "data.root=/tmp/${trial}/${trial}"])
    assert config.data.root == Path("/tmp/twice/twice")
