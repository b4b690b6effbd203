"""MLflow's own file after its run root was moved or copied: the places of artifacts in it are absolute.

Left as they are, artifacts would go to where the run root was: into nowhere, or into the original of a copy.
MLflow has no call that changes them, so they are changed in its tables. Whether the run root was moved or
copied does not matter: its artifacts came with it, and this is not the original's file.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"  # beside the file
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
PATIENCE_SECONDS = 60.0  # for another process that writes

log = logging.getLogger(__name__)


def bring_artifacts_home(database: Path) -> None:
    """Have a store keep its artifacts beside it, those that it has and those to come.

    Args:
        database: MLflow's file under a run root, whose tables are current.
    """
    home = database.with_name(ARTIFACTS)
    with closing(sqlite3.connect(database, timeout=PATIENCE_SECONDS)) as tables:
        found = tables.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (before,) in found:
            if before is None or not _was_beside_it(before, home):
                continue
            with tables:  # all or nothing
                for table, column in PLACES:
                    _move(tables, table, column, before, home.as_uri())
            log.info("MLflow's artifacts are %s now: the run root was moved or copied from %s", home, before)


def _was_beside_it(place: str, home: Path) -> bool:
    """Whether a place is where this project kept the artifacts of a run root that is not this one."""
    parts = urlsplit(place)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or path.name != ARTIFACTS or place == home.as_uri():
        return False
    # One folder may have several names.
    return not (path.exists() and home.exists() and path.samefile(home))


def _move(tables: sqlite3.Connection, table: str, column: str, before: str, now: str) -> None:
    """Change the beginning of the places in a column."""
    tables.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
    )
