"""Imports point one way, nothing happens at import, files and functions stay readable."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.provenance import REPOSITORY

FILES = sorted(path for folder in ("hgg", "pipeline", "jobs") for path in (REPOSITORY / folder).glob("*.py"))
ALL = [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in FILES]

# The modules of pipeline whose purpose is Ray, or MLflow. All others run where neither is installed.
RAY = {
    "ablation_on_ray",
    "cluster",
    "doctor_cluster",
    "evaluate_on_ray",
    "resources",
    "stage",
    "submit",
    "trainer",
    "tuner",
}
MLFLOW = {"registry", "served", "tracking", "tracking_store"}

MOST_LINES = 300
MOST_FUNCTION_LINES = 60  # without the docstring


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            names.add(node.module or "")
    return names


def _roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imported(path)}


def _names(folder: str) -> Iterator[tuple[str, set[str]]]:
    for path in FILES:
        if path.parent.name == folder:
            yield path.stem, _roots(path)


def test_the_method_knows_nothing_around_it() -> None:
    for name, roots in _names("hgg"):
        assert not roots & {"ray", "mlflow", "pipeline", "jobs", "tests"}, name


def test_the_pipeline_imports_no_command() -> None:
    for name, roots in _names("pipeline"):
        assert not roots & {"jobs", "tests"}, name


def test_ray_and_mlflow_stay_in_their_modules() -> None:
    assert {name for name, roots in _names("pipeline") if "ray" in roots} == RAY
    assert {name for name, roots in _names("pipeline") if "mlflow" in roots} == MLFLOW
    for name, roots in _names("jobs"):
        assert not roots & {"ray", "mlflow"}, name


def test_no_files_import_each_other_in_a_circle() -> None:
    """Wherever an import stands, also inside a function."""
    modules = {f"{path.parent.name}.{path.stem}": path for path in FILES}
    left = {name: _imported(path) & modules.keys() for name, path in modules.items()}
    while free := {name for name, imported in left.items() if not imported & left.keys()}:
        left = {name: imported for name, imported in left.items() if name not in free}
    assert not left, f"circles among {sorted(left)}, or above them"


def test_torch_cluster_is_imported_in_one_place() -> None:
    assert [path.stem for path in FILES if "torch_cluster" in _roots(path)] == ["matching"]


def test_modules_without_ray_and_mlflow_import_without_them_and_leave_no_trace(tmp_path: Path) -> None:
    modules = [f"{path.parent.name}.{path.stem}" for path in FILES if path.parent.name != "jobs"]
    plain = [name for name in modules if name.partition(".")[2] not in RAY | MLFLOW]
    code = (
        f"import sys, os; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "sys.modules['ray'] = sys.modules['mlflow'] = None\n"
        "import importlib, logging, cv2, torch; before = dict(os.environ)  # cv2 sets variables of its own\n"
        f"for name in {plain!r}: importlib.import_module(name)\n"
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
