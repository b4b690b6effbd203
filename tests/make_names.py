"""Keep the names by which what was made before is known again, in tests/golden/names/.

    python -m tests.make_names

`test_names_stay.py` compares with them. A file that is there stays as it is, as each of its names is one that
somebody's runs have; remove it first where names are meant to change, and say in the commit why and what no
longer goes on.
"""

import json
import tempfile
from pathlib import Path

from tests.cases.job_names import job_names
from tests.cases.names import GOLDEN, all_names, help_texts, print_config_text


def as_json(value: object) -> str:
    """As the files hold it."""
    return json.dumps(value, indent=1) + "\n"


def main() -> None:
    """Write the files that are not there."""
    with tempfile.TemporaryDirectory() as folder:
        makers = {
            "names.json": lambda: as_json(all_names()),
            "print_config.yaml": print_config_text,
            "help.json": lambda: as_json(help_texts()),
            "jobs.json": lambda: as_json(job_names(Path(folder))),
        }
        for name, make in makers.items():
            if not (GOLDEN / name).exists():
                (GOLDEN / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
