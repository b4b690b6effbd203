"""Check what the jobs will need before it costs hours: packages, cluster, storage, MLflow, data, model."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# In place of this folder, where inspect.py would be found for Python's own module of that name.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != ROOT / "jobs")]

from pipeline.base.secrets import masked
from pipeline.commands.job import run_job
from pipeline.settings.config import RunConfig


def main(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Print a line for each finding; exit code 1 where something fails."""
    # Imported here so that --help answers at once.
    from pipeline.commands.doctor import all_checks

    findings = []
    for check in all_checks(config):
        for finding in check():
            findings.append(finding._replace(text=masked(finding.text)))
            if not arguments.json:
                print(f"{finding.level:4}  {finding.check:8}  {masked(finding.text)}", flush=True)
    levels = [finding.level for finding in findings]
    results: dict[str, Any] = {level: levels.count(level) for level in ("ok", "warn", "fail")}
    if arguments.json:
        results["findings"] = [finding._asdict() for finding in findings]
    if results["fail"]:
        print(json.dumps(results))
        raise SystemExit(1)
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What doctor takes beside the settings."""
    parser.add_argument(
        "--json", action="store_true", help="findings in the last line, as JSON, and no others"
    )


if __name__ == "__main__":
    run_job(main, name="doctor", description=__doc__ or "", add_arguments=add_arguments)
