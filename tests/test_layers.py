"""Imports point one way, nothing happens at import, files and functions stay readable."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.provenance import REPOSITORY

FILES = sorted(path for folder in ("hgg", "pipeline", "jobs") for path in (REPOSITORY / folder).rglob("*.py"))
ALL = [pytest.param(path, id=str(path.relative_to(REPOSITORY))) for path in FILES]

# By room, the others that it imports: the table of pipeline/README.md. `hgg` and `jobs` count as one each.
MAY_IMPORT: dict[str, set[str]] = {
    "hgg": set(),
    "base": set(),
    "settings": {"base", "hgg"},
    "metrics": {"base", "hgg"},
    "cluster": {"base", "settings"},
    "tracking": {"base", "settings", "hgg"},
    "synthetic": {"base", "settings", "hgg"},
    "data": {"base", "settings", "cluster", "hgg"},
    "batches": {"base", "data", "hgg"},
    "evaluation": {"base", "settings", "metrics", "cluster", "tracking", "data", "hgg"},
    "inspection": {"base", "settings", "data", "hgg"},
    "prediction": {"base", "settings", "cluster", "data", "evaluation", "hgg"},
    "serving": {"base", "settings", "cluster", "prediction", "hgg"},
    "training": {"base", "settings", "cluster", "tracking", "data", "batches", "evaluation", "hgg"},
    "report": {"base", "settings", "metrics", "evaluation", "training", "hgg"},
    "commands": {
        *("base", "settings", "metrics", "cluster", "tracking", "data", "batches"),
        *("inspection", "evaluation", "prediction", "serving", "training", "report", "hgg"),
    },
    "studies": {"base", "settings", "cluster", "tracking", "data", "training", "commands", "hgg"},
    "jobs": {"base", "settings", "tracking", "synthetic", "commands", "studies"},
}

# Beside `on_ray` of any room: these need Ray, or MLflow, to be imported at all.
NEED_RAY_OR_MLFLOW = {"cluster/check.py", "tracking/served.py"}

MOST_LINES = 300
MOST_FUNCTION_LINES = 60  # without the docstring


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module(path): path for path in FILES}


def _imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= full & MODULES.keys() or {node.module or ""}
    return names


def _roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imported(path)}


def _room(module: str) -> str:
    """`hgg`, `jobs`, or a folder of `pipeline`; empty for `pipeline` itself."""
    root, _, rest = module.partition(".")
    return rest.partition(".")[0] if root == "pipeline" else root


def test_rooms_import_what_the_table_says() -> None:
    """And nothing that is not in it: an arrow that is gone leaves the table."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        found[_room(module)] |= {_room(name) for name in _imported(path) & MODULES.keys()} - {_room(module)}
    del found[""]
    assert found == MAY_IMPORT


def test_no_files_import_each_other_in_a_circle() -> None:
    """Wherever an import stands, also inside a function."""
    left = {module: _imported(path) & MODULES.keys() for module, path in MODULES.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert not left, f"circles among {sorted(left)}, or above them"


def test_no_code_imports_tests() -> None:
    for path in FILES:
        assert "tests" not in _roots(path), path


def test_ray_stays_in_cluster_and_in_files_called_on_ray() -> None:
    rooms = {path: _room(_module(path)) for path in FILES if "ray" in _roots(path)}
    assert set(rooms.values()) >= {"cluster", "data", "training", "serving", "studies"}
    for path, room in rooms.items():
        assert room == "cluster" or path.stem == "on_ray", path


def test_mlflow_stays_in_tracking() -> None:
    assert {_room(_module(path)) for path in FILES if "mlflow" in _roots(path)} == {"tracking"}


def test_ablation_and_tuning_do_not_know_each_other() -> None:
    for one, other in (("ablation", "tuning"), ("tuning", "ablation")):
        for path in (REPOSITORY / "pipeline" / "studies" / one).glob("*.py"):
            assert not any(name.startswith(f"pipeline.studies.{other}") for name in _imported(path)), path


def test_torch_cluster_is_imported_in_one_place() -> None:
    assert [path.stem for path in FILES if "torch_cluster" in _roots(path)] == ["matching"]


def _plain_modules() -> Iterator[str]:
    """Those that run where neither Ray nor MLflow is installed."""
    for module, path in MODULES.items():
        own = (
            path.relative_to(REPOSITORY / "pipeline").as_posix()
            if _room(module) not in ("hgg", "jobs")
            else ""
        )
        if _room(module) != "jobs" and path.stem != "on_ray" and own not in NEED_RAY_OR_MLFLOW:
            yield module


def test_modules_without_ray_and_mlflow_import_without_them_and_leave_no_trace(tmp_path: Path) -> None:
    code = (
        f"import sys, os; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "sys.modules['ray'] = sys.modules['mlflow'] = None\n"
        "import importlib, logging, cv2, torch; before = dict(os.environ)  # cv2 sets variables of its own\n"
        f"for name in {[*_plain_modules()]!r}: importlib.import_module(name)\n"
        "assert dict(os.environ) == before, 'environment changed'\n"
        "assert not logging.getLogger().handlers, 'logging set up'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ALL)
def test_nothing_happens_at_import(path: Path) -> None:
    """There are definitions only at the top level; jobs also extend the path and have a main guard."""
    for node in _tree(path).body:
        where = f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Expr):
            # A models-from-code file is one that MLflow runs, and that hands over its model by this call.
            allowed = {"jobs": "sys.path.insert", "served": "set_model"}
            is_text = isinstance(node.value, ast.Constant)
            call = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else None
            assert is_text or call in (allowed.get(path.parent.name, ""), allowed.get(path.stem, "")), where
        elif isinstance(node, ast.If):
            assert ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING"), where
        else:
            definitions = (
                ast.Import,
                ast.ImportFrom,
                ast.Assign,
                ast.AnnAssign,
                ast.FunctionDef,
                ast.AsyncFunctionDef,
                ast.ClassDef,
            )
            assert isinstance(node, definitions), where


@pytest.mark.parametrize("path", ALL)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = (ast.get_docstring(node, clean=False) or "").count("\n")
            lines = (node.end_lineno or node.lineno) - node.lineno - docstring
            assert lines < MOST_FUNCTION_LINES, f"{path.name}:{node.lineno} {node.name}: {lines} lines"
