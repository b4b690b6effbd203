"""MLflow's model registry: versions of `hgg` with their figures, and which of them is the champion.

A version's tags hold what it is compared by: AP and the fingerprint of the data that it was measured on. The
alias `champion` moves to a new version only where both are known to be better on the same data; any other new
version gets the alias `challenger`.
"""

import json
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.base.errors import UserError, first_line
from pipeline.base.files import atomic_path, sha256_file, write_text
from pipeline.base.secrets import masked
from pipeline.settings.config import RunConfig
from pipeline.settings.paths import REGISTERED
from pipeline.tracking.run import Tracked
from pipeline.tracking.store import open_store, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
WEIGHTS = "weights.pt"
# Registrations that began within this time of one another may have read the alias before the other moved it.
CONCURRENT_MILLISECONDS = 10 * 60 * 1000
# What MLflow answers where there is no such model, and where no version has the alias.
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# How often a version is given its alias, where the store fails at it, and the wait between two tries.
SETTLE_TRIES, SETTLE_SECONDS = 5, 0.5
SHA256 = re.compile(r"[0-9a-f]{64}")
FORM = re.compile(r"(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")  # of what follows models:/

log = logging.getLogger(__name__)


class Version(NamedTuple):
    """A registered version as it is compared.

    Attributes:
        number: of the version.
        ap: AP of HGG, in [0, 1]; below zero where the version does not say.
        data: fingerprint of the records that it was measured on.
        made: when, in milliseconds since 1970.
    """

    number: int
    ap: float
    data: str
    made: int


def judge(new: Version, champion: Version | None) -> tuple[str, bool]:
    """Why a version is or is not to be the champion, and whether it is."""
    if champion is None:
        return "there was no champion", True
    if new.data != champion.data:
        there = f"version {champion.number}, the champion, was measured on data {champion.data}"
        return f"{there}, this on {new.data}: evaluate both on the same", False
    compared = f"AP {new.ap:.4f} against {champion.ap:.4f} of version {champion.number}, the champion"
    return compared, new.ap > champion.ap


def settle(client: "MlflowClient", name: str, number: int) -> tuple[str, bool]:
    """Give a new version its alias; returns the reason and whether it is the champion.

    The registry cannot move an alias on condition that nobody else has. So a version looks again after it has
    moved it: who looks last sees all versions of registrations at the same time, and the best of them wins.
    Where two move it in the same moment, a store on SQL refuses one of them, which then looks again.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(SETTLE_TRIES - 1):
        try:
            return _settle(client, name, number)
        except MlflowException as error:
            log.info("%s version %d: the alias is looked at again: %s", name, number, first_line(error))
            time.sleep(SETTLE_SECONDS)
    return _settle(client, name, number)


def _settle(client: "MlflowClient", name: str, number: int) -> tuple[str, bool]:
    """One look, one move, and the second look."""
    new = _version(client, name, number)
    before = champion(client, name)
    verdict, better = judge(new, before)
    if better:
        client.set_registered_model_alias(name, CHAMPION, str(number))
    rivals = [each for each in _versions(client, name) if abs(each.made - new.made) < CONCURRENT_MILLISECONDS]
    best = max((each for each in rivals if each.data == new.data), key=lambda each: (each.ap, -each.number))
    now = champion(client, name)
    if now is None or (best.data == now.data and best.ap > now.ap):
        client.set_registered_model_alias(name, CHAMPION, str(best.number))
        now = best
    if better and now.number != number:
        verdict, better = judge(new, now)
    if not better:
        client.set_registered_model_alias(name, CHALLENGER, str(number))
    return verdict, better


def champion(client: "MlflowClient", name: str) -> Version | None:
    """The version that has the alias, or None where there is no such model or none has it."""
    from mlflow.exceptions import MlflowException

    try:
        return _to_version(client.get_model_version_by_alias(name, CHAMPION))
    except MlflowException as error:
        if error.error_code not in ABSENT:  # a store that does not answer, for one
            raise
        return None


def local_model(config: RunConfig, path: Path) -> Path:
    """The path itself, or the file that a registered model (models:/hgg@champion) is fetched to.

    Raises `UserError` where the registry has no such model.
    """
    if not str(path).startswith(REGISTERED):
        return path
    return fetch(config, str(path))


def fetch_registered(uri: str) -> Path:
    """The weights of a registered model for `hgg.load`: of the store that MLFLOW_TRACKING_URI names.

    They are kept in the user's cache. Raises `ValueError` where `fetch` raises `UserError`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        return fetch(RunConfig(run_root=cache / "hgg"), uri)
    except UserError as error:
        raise ValueError(str(error)) from error


def fetch(config: RunConfig, uri: str) -> Path:
    """The weights of a registered model as a file under the run root; fetched once a version.

    Raises:
        UserError: no such model in the store, or one whose weights are not those that its tag names.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    form = FORM.fullmatch(uri.removeprefix(REGISTERED))
    if form is None:
        name = config.tracking.model
        raise UserError(
            f"{uri}: names no version: write models:/{name}@{CHAMPION}, or another alias or number, as in "
            f"models:/{name}/3"
        )
    client, name = open_store(config), form["name"]
    try:
        found = (
            client.get_model_version_by_alias(name, form["alias"])
            if form["alias"]
            else client.get_model_version(name, form["version"])
        )
    except MlflowException as error:
        why = masked(first_line(error))
        raise UserError(
            f"{uri}: not in {masked(store_uri(config))} ({why}): register one with jobs/register.py, "
            "or name the store with tracking.uri or MLFLOW_TRACKING_URI"
        ) from error
    sha256 = found.tags.get("sha256", "")
    if not SHA256.fullmatch(sha256):
        raise UserError(
            f"{uri}: its tag sha256={sha256!r} is no SHA-256 of weights: take a version of jobs/register.py"
        )
    target = config.run_root / "registered" / f"{name}-{found.version}-{sha256[:12]}.pt"
    if not target.is_file():
        with atomic_path(target) as temporary:
            stored = client.get_model_version_download_uri(name, found.version)
            fetched = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{stored}/artifacts/{WEIGHTS}", tracking_uri=store_uri(config)
            )
            temporary.write_bytes(Path(fetched).read_bytes())
            if sha256_file(temporary) != sha256:
                raise UserError(
                    f"{uri}: the weights in {stored} are not those of its tag sha256={sha256}: they were "
                    "changed since they were registered; register the model again"
                )
    return target


def log_version(
    tracked: Tracked, config: RunConfig, source: Path, results: Mapping[str, Any], weights: Path, card: str
) -> int:
    """Store a model with its code and card, and make it a version; returns its number.

    Args:
        tracked: the run that it is stored in.
        config: names the registered model, and says how the model groups.
        source: its file.
        results: of its evaluation.
        weights: where a copy goes under the name that versions have their weights by; the card beside it.
        card: its text.
    """
    from mlflow.exceptions import MlflowException

    with atomic_path(weights) as temporary:
        temporary.write_bytes(source.read_bytes())
    write_text(weights.with_name("card.md"), card)
    tracked.artifact(weights.with_name("card.md"))
    uri = tracked.model(weights, config.model, 0)
    try:
        tracked.client.create_registered_model(config.tracking.model)
    except MlflowException:  # there already
        tracked.client.get_registered_model(config.tracking.model)
    tags = {
        "ap": repr(results["ap"]["hgg"]["AP"]),
        "figures": json.dumps(results["ap"]["hgg"]),
        "data": results["data"],
        "split": results["split"],
        "configuration": results["configuration"],
        "commit": results["commit"],
        "sha256": results["model_sha256"],
    }
    model_id = uri.removeprefix(REGISTERED)
    version = tracked.client.create_model_version(
        config.tracking.model,
        tracked.client.get_logged_model(model_id).artifact_location,
        run_id=tracked.run_id,
        tags=tags,
        description=card,
        model_id=model_id,
    )
    return int(version.version)


def artifact_page(client: "MlflowClient", run_id: str, name: str) -> str:
    """Where MLflow's own pages show an artifact of a run, as a link within them; empty where it has none."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
        kept = name and any(each.path == name for each in client.list_artifacts(run_id))
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return ""
    return f"#/experiments/{run.info.experiment_id}/runs/{run_id}/artifacts/{name}" if kept else ""


def _versions(client: "MlflowClient", name: str) -> list[Version]:
    return [_to_version(each) for each in client.search_model_versions(f"name = '{name}'")]


def _version(client: "MlflowClient", name: str, number: int) -> Version:
    return _to_version(client.get_model_version(name, str(number)))


def _to_version(found: Any) -> Version:
    tags = found.tags
    return Version(
        int(found.version), float(tags.get("ap", -1)), tags.get("data", ""), found.creation_timestamp
    )
