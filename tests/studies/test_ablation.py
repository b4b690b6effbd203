"""Rows of the ablation: what each file changes, how rows become trials, and the tables made from results."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from hgg.model import HGG
from hgg.weights import save_model
from pipeline.base.errors import UserError
from pipeline.base.files import write_json, write_text
from pipeline.base.lock import held
from pipeline.base.provenance import REPOSITORY
from pipeline.settings.config import RunConfig
from pipeline.settings.keys import flat
from pipeline.settings.load import load_config, print_config
from pipeline.studies.ablation.orders import ORDERS, orders_table
from pipeline.studies.ablation.rows import (
    Row,
    choose_rows,
    earlier_places,
    find_rows,
    finished_trials,
    plan_trials,
    read_row,
)
from pipeline.studies.ablation.run import run_ablation
from pipeline.studies.ablation.table import METRICS, write_tables
from tests.cases.training import tiny_run

CONF = REPOSITORY / "conf"
CHANGES: dict[str, dict[str, Any]] = {
    "1": {"grouping.decoder": "associative", "loss.edge": 0.0, "loss.macro": 0.0},
    "2": {
        "grouping.decoder": "associative",
        "loss.edge": 0.0,
        "loss.macro": 0.0,
        "inference.scales": [0.5, 1.0, 2.0],
    },
    "3": {"grouping.proximity": "distance", "loss.edge": 0.0, "loss.macro_intermediate": False},
    "4": {"grouping.macro_score": False, "loss.macro": 0.0},
    "5": {"loss.macro_intermediate": False},
    "6": {"grouping.decoder": "associative"},
    "7": {"grouping.interaction": "fc"},
    "8": {"grouping.interaction": "gat"},
    "9": {},
    "10": {"inference.scales": [0.5, 1.0, 2.0]},
    "tree": {"grouping.graph": "tree"},
    "bypass": {"grouping.graph": "bypass"},
    "extended": {"grouping.graph": "extended"},
    "full": {},
    "balance": {"loss.macro_balance": True},
    "spread": {"grouping.macro_input": "spread"},
    "veto": {"grouping.veto": 0.5},
    "graclus": {"grouping.matching": "graclus"},
    "ours": {"grouping.score_feature": True},
    "large": {"grouping.macro_score_from": 5},
    "plain": {"grouping.macro_score": False},
}
MODEL_OF = {"2": "1", "10": "9", "full": "9", "graclus": "9", "veto": "9", "large": "9", "plain": "9"}


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    """A run root with samples and a pretrained network, its settings in a file beside it."""
    config = tiny_run(tmp_path)
    (config.run_root / "pretrain").mkdir(parents=True)
    save_model(config.run_root / "pretrain" / "best.pt", HGG(config.model))
    (tmp_path / "conf.yaml").write_text(print_config(config))
    return config


def _row(name: str, run: RunConfig, *overrides: str) -> Row:
    return read_row(name, find_rows(), [run.run_root.parent / "conf.yaml"], overrides)


def test_every_row_of_the_paper_is_there_and_changes_what_it_says() -> None:
    files = find_rows()
    assert [*files] == [*CHANGES]
    default = flat(RunConfig().model_dump(mode="json"))
    for name, path in files.items():
        config = load_config([path])
        changes = {
            key: value
            for key, value in flat(config.model_dump(mode="json")).items()
            if default.get(key) != value
            and key.split(".")[0] in ("network", "candidates", "grouping", "loss", "inference")
        }
        assert changes == CHANGES[name], path.name
        assert config.ablation.title
        assert config.ablation.model_of == MODEL_OF.get(name, "")
    assert load_config([files["9"]]).ablation.paper.AP == 60.4
    assert load_config([files["1"]]).ablation.paper.AP == 57.6


def test_the_table_of_rows_names_every_file_and_tests_that_exist() -> None:
    text = (CONF.parent / "hgg" / "README.md").read_text(encoding="utf-8")
    lines = [line.split("|") for line in text.splitlines() if line.startswith("|") and ".yaml`" in line]
    assert [cells[2].strip(" `") for cells in lines] == [path.name for path in find_rows().values()]
    for cells in lines:
        named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", cells[4])
        assert named, cells[1]
        for file, test in named:
            assert f"def {test}" in (CONF.parent / "tests" / "hgg" / file).read_text(encoding="utf-8"), (
                file,
                test,
            )


def test_interaction_networks_of_rows_7_8_9_are_as_large_as_each_other() -> None:
    files = find_rows()
    sizes = []
    for name in ("7", "8", "9"):
        model = HGG(load_config([CONF / "small.yaml", files[name]]).model)
        sizes.append(sum(parameter.numel() for parameter in model.grouping.interaction.parameters()))
    assert max(sizes) <= 1.1 * min(sizes)
    assert len(set(sizes)) == 3


def test_rows_are_chosen_by_name_in_the_tables_order() -> None:
    known = find_rows()
    assert choose_rows("9, 1,tree", known) == ["1", "9", "tree"]
    assert choose_rows("", known) == [*CHANGES]
    with pytest.raises(UserError, match=r"--rows=1,11: no row 11: there are 1, 2, 3, .*graclus"):
        choose_rows("1,11", known)


def test_files_without_a_name_or_with_the_same_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("loss:\n  edge: 0.0\n")
    with pytest.raises(UserError, match=r"a\.yaml: no ablation\.row"):
        find_rows(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("ablation:\n  row: '1'\n")
    with pytest.raises(UserError, match=r"b\.yaml: the same ablation\.row as .*a\.yaml"):
        find_rows(tmp_path)


def test_trials_have_seeds_of_their_own_and_are_evaluated_after_the_last_step(run: RunConfig) -> None:
    row = _row("9", run)
    one, two = plan_trials(row, 2)
    assert (one.seed, two.seed) == (run.train.seed, run.train.seed + 1)
    assert one.training.outputs != two.training.outputs
    assert one.evaluation.evaluate.checkpoint == one.training.outputs / "joint" / "last.pt"
    assert one.evaluation.outputs == one.training.outputs / "row_9"
    assert one.training.outputs.is_relative_to(run.run_root / "ablation")
    assert one.training.train.validation_images == 0


def test_rows_that_evaluate_the_same_model_share_its_training(run: RunConfig) -> None:
    trained, again = (plan_trials(_row(name, run), 1)[0] for name in ("1", "2"))
    assert trained.training == again.training
    assert trained.evaluation.outputs != again.evaluation.outputs
    assert plan_trials(_row("9", run), 1)[0].training.trial != trained.training.trial


def test_draws_are_evaluations_of_one_model(run: RunConfig) -> None:
    trials = plan_trials(_row("graclus", run), 3)
    assert [trial.draw for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.evaluation.evaluate.seed for trial in trials] == [0, 1, 2, 3, 4]
    assert len({trial.training.trial for trial in trials}) == 1
    assert len({trial.evaluation.trial for trial in trials}) == 5
    assert {trial.evaluation.grouping.matching for trial in trials} == {"graclus"}
    assert {trial.training.grouping.matching for trial in trials} == {"dominant"}


def test_overrides_have_the_last_word_and_make_other_trials(run: RunConfig) -> None:
    plain, other = _row("4", run), _row("4", run, "loss.macro=0.5")
    assert (plain.config.loss.macro, other.config.loss.macro) == (0.0, 0.5)
    assert plain.settings != other.settings


def test_another_pretrained_network_makes_other_trials(run: RunConfig) -> None:
    before = _row("9", run)
    trial = plan_trials(before, 1)[0].training.trial
    save_model(run.run_root / "pretrain" / "best.pt", HGG(run.model))
    after = _row("9", run)
    assert before.settings != after.settings
    assert trial != plan_trials(after, 1)[0].training.trial


def _result(row: Row, seed: int, ap: float) -> dict[str, Any]:
    figures = {"ae": ap - 0.125, "hgg": ap, "oracle": ap + 0.125}
    return {
        "ablation": {"row": row.name, "seed": seed, "draw": 0, "settings": row.settings},
        "ap": {name: dict.fromkeys(METRICS, value) for name, value in figures.items()},
        "diagnosis": [
            {"part": "1 person", "AE": ap, "HGG": ap + 0.01},
            {"part": "4 or more people", "AE": None, "HGG": None},
        ],
        "training": {"run": f"joint-{row.name}-{seed}", "seconds": 1800.0},
        "counts": {"images": 300.0},
        "commit": "0123456789abcdef",
        "data": "d" * 12,
    }


def test_tables_have_means_spreads_and_what_was_not_trained(run: RunConfig, tmp_path: Path) -> None:
    rows = [_row(name, run) for name in ("1", "4", "9", "tree")]
    results = [_result(rows[2], seed, ap) for seed, ap in ((3, 0.25), (4, 0.5))]
    results.append(_result(rows[3], 3, 0.125))
    foreign = _result(rows[0], 3, 0.75)
    foreign["ablation"]["settings"] = "of another configuration"
    means = write_tables(tmp_path / "out", rows, [*results, foreign])
    assert means == {"9": dict.fromkeys(METRICS, 37.5), "tree": dict.fromkeys(METRICS, 12.5)}
    lines = (tmp_path / "out" / "ablation.md").read_text().splitlines()
    assert lines[2].startswith("| 1 | associative embedding, greedy | not trained here (57.6) | (79.7) |")
    assert lines[4].startswith("| 9 | all, EdgeConv: HGG | 37.50 ± 17.68 (60.4) | 37.50 ± 17.68 (83.0) |")
    assert lines[4].endswith("| 25.00 ± 17.68 | 50.00 ± 17.68 | 50% | +1.00 |  | 2 |")
    assert "3 trainings, 1.50 hours of training together; commit 0123456789ab." in lines[-1]
    assert not any("Orders" in line for line in lines)  # no two rows of a pair were trained
    with (tmp_path / "out" / "ablation.csv").open(newline="") as file:
        table = {line["row"]: line for line in csv.DictReader(file)}
    assert (table["9"]["AP_mean"], table["9"]["AP_paper"]) == ("37.5", "60.4")
    assert float(table["9"]["AP_spread"]) == pytest.approx(17.6776695)
    assert table["9"]["AP_by_trial"] == "25.0 50.0"
    assert float(table["9"]["gain: 1 person"]) == pytest.approx(1.0)
    assert table["9"]["gain: 4 or more"] == ""
    assert (table["tree"]["AP_spread"], table["4"]["AP_mean"], table["4"]["trials"]) == ("", "", "0")
    assert (tmp_path / "out" / "graphs.png").stat().st_size > 10_000


def test_an_order_of_the_paper_is_seen_where_every_seed_has_it() -> None:
    ap = {"1": {0: 2.0, 1: 3.0}, "4": {0: 2.5, 1: 3.5, 2: 9.0}, "9": {0: 2.25, 1: 3.75}, "8": {1: 4.0}}
    lines = orders_table(ap, {"1": 57.6, "4": 59.6, "9": 60.4, "8": None})
    assert lines[2:] == [
        "| 4 above 1 | the edge discriminator | +2.0 | +0.50 (+0.50, +0.50) | yes |",
        "| 9 above 4 | both macro-node losses | +0.8 | +0.00 (-0.25, +0.25) | with 1 of 2 seeds |",
        "| 9 above 8 | EdgeConv in place of graph attention |  | -0.25 | one seed alone |",
        "| 9 above 1 | HGG in place of associative embedding | +2.8 | +0.50 (+0.25, +0.75) | yes |",
    ]
    backwards = orders_table({"1": {0: 2.0, 1: 2.0}, "4": {0: 1.0, 1: 1.5}}, {})
    assert backwards[2].endswith("| -0.75 (-1.00, -0.50) | reversed |")
    assert orders_table({"1": {0: 2.0}, "4": {1: 1.0}}, {}) == []


def test_every_order_is_one_of_the_papers_figures() -> None:
    known = {name: load_config([path]).ablation.paper for name, path in find_rows().items()}
    for order in ORDERS:
        better, worse = known[order.better].AP, known[order.worse].AP
        assert better is not None
        assert worse is not None
        assert better > worse, order
    for name, paper in known.items():
        assert all(getattr(paper, metric) is not None for metric in METRICS) == name.isdecimal(), name


def test_results_are_found_again_under_the_run_root(run: RunConfig) -> None:
    trial = plan_trials(_row("9", run), 1)[0]
    assert finished_trials(run.run_root) == []
    write_json(trial.evaluation.outputs / "evaluate" / "results.json", {"ablation": trial.key, "ap": {}})
    assert [result["ablation"] for result in finished_trials(run.run_root)] == [trial.key]


def test_a_second_ablation_in_the_same_run_root_is_refused(run: RunConfig) -> None:
    with held(run.run_root / "ablation", "jobs/ablate.py"):
        with pytest.raises(UserError, match=r"/ablation: jobs/ablate\.py is at work there, process "):
            run_ablation(run, [_row("1", run)], 1, [])
        assert [path.name for path in (run.run_root / "ablation").iterdir()] == [".lock"]


def test_what_was_finished_before_the_run_root_was_moved_is_finished(run: RunConfig, tmp_path: Path) -> None:
    row = _row("1", run)
    (trial,) = plan_trials(row, 1)
    key = trial.key
    write_text(trial.training.outputs / "joint" / "config.yaml", print_config(trial.training))
    assert earlier_places(run.run_root) == []
    place = tmp_path / "another place"
    run.run_root.rename(place)
    moved = run.model_copy(update={"run_root": place})
    (tmp_path / "conf.yaml").write_text(print_config(moved))
    assert [then.run_root for then in earlier_places(place)] == [run.run_root]
    (again,) = plan_trials(_row("1", moved), 1)
    assert not again.finished([key])  # as the places count
    files = [tmp_path / "conf.yaml"]
    (again,) = plan_trials(read_row("1", find_rows(), files, [], earlier_places(place)), 1)
    assert again.finished([key])
    assert again.row.has(key)
    assert not again.finished([key | {"seed": 8}])
    other = read_row("1", find_rows(), files, ["joint.lr=0.5"], earlier_places(place))
    assert not other.has(key)
