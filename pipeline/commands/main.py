"""`hgg`, the one command: every file of `jobs/` is a sub-command of it, with the same arguments.

It is what an installed package has; a cluster is sent `python jobs/NAME.py`, which is the same.
"""

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

from pipeline.base.provenance import REPOSITORY
from pipeline.commands.job import BAD_INPUT, DONE, run_job

FOLDERS = ("hgg_jobs", "jobs")
"""Where the jobs are below the folder that `pipeline` is in: of an installed package, and of a clone."""


def main() -> None:
    """Run the sub-command that is named on the command line, or say which there are."""
    jobs = job_files()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(jobs))
        sys.exit(DONE if arguments else BAD_INPUT)
    if arguments[0] == "--version":
        import importlib.metadata

        print(importlib.metadata.version("hgg"))
        sys.exit(DONE)
    name = arguments[0].replace("_", "-")
    if name not in jobs:
        print(
            f"error: {arguments[0]} is no command of hgg: take one of {', '.join(jobs)} (see hgg --help)",
            file=sys.stderr,
        )
        sys.exit(BAD_INPUT)
    sys.argv[:2] = [f"hgg {name}"]
    job = _loaded(jobs[name])
    run_job(
        job.main,
        name=jobs[name].stem,
        description=job.__doc__ or "",
        add_arguments=getattr(job, "add_arguments", None),
        sources=getattr(job, "SOURCES", ""),
    )


def job_files() -> dict[str, Path]:
    """The jobs by their names on the command line: `train-joint` is jobs/train_joint.py."""
    folder = next(place for name in FOLDERS if (place := REPOSITORY / name).is_dir())
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.py"))}


def _loaded(path: Path) -> Any:
    """A job's file as a module: nothing but what `python FILE` does before its main guard."""
    spec = importlib.util.spec_from_file_location(f"hgg_jobs.{path.stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _usage(jobs: dict[str, Path]) -> str:
    """All commands with the first line of each one's own description."""
    width = max(map(len, jobs))
    lines = [f"  {name:{width}}  {_title(path)}" for name, path in jobs.items()]
    return "\n".join(
        [
            "usage: hgg COMMAND [arguments] [key.sub=value ...]",
            "",
            "Hierarchical graph grouping for multi-person pose estimation, from photographs to people.",
            "",
            *lines,
            "",
            "hgg COMMAND --help says what each takes.",
        ]
    )


def _title(path: Path) -> str:
    """What a job says of itself, without running it."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].rstrip(".")
