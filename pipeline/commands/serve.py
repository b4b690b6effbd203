"""The endpoint from the job's side: which model, at which address, until when."""

import ipaddress
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.base.errors import UserError
from pipeline.commands.predict import model_plan
from pipeline.prediction.model_plan import ModelPlan
from pipeline.settings.config import RunConfig
from pipeline.settings.paths import REGISTERED

if TYPE_CHECKING:
    from pipeline.serving.on_ray import Endpoint

TOKEN = "HGG_TOKEN"

log = logging.getLogger(__name__)


def run_endpoint(config: RunConfig, model: Path | None, overrides: list[str] | None) -> dict[str, Any]:
    """Serve a model until the job is stopped; returns what was served.

    Args:
        config: settings.
        model: file, or a registered one; None as `predict` chooses.
        overrides: settings of the command line, where the others are the model's own.

    Raises:
        UserError: no model, an address for others than this machine without a token, or a port that is taken.
    """
    token = os.environ.get(TOKEN, "")
    _check_address(config, token)
    plan = model_plan(config, model, overrides)
    plan.predictor()  # whatever is wrong with it is said before anything starts
    # Imported here, as they need Ray.
    from pipeline.cluster.resources import cpus_needed
    from pipeline.cluster.start import start_ray
    from pipeline.serving.on_ray import Endpoint

    options = config.train.model_copy(update={"num_workers": config.serve.replicas})
    with start_ray(cpus=cpus_needed(options)), Endpoint(config, token) as endpoint:
        served = _name(model, plan)
        endpoint.show(plan, served)
        log.info("serve: %s at %s, Ctrl-C ends it", served, endpoint.address)
        if model is not None and str(model).startswith(REGISTERED) and "@" in str(model):
            _follow(config, model, overrides, plan, endpoint)
        threading.Event().wait()
    return {}


def _follow(
    config: RunConfig, model: Path, overrides: list[str] | None, plan: ModelPlan, endpoint: "Endpoint"
) -> None:
    """Serve whatever the alias stands for; what is there goes on where the registry or a version fails."""
    complaint = ""
    while True:
        threading.Event().wait(config.serve.poll_seconds)
        try:
            newer = model_plan(config, model, overrides)
            if newer.file != plan.file:
                newer.predictor()  # as at the start: a replica that cannot read it would be gone
                endpoint.show(newer, _name(model, newer))
                log.info("serve: %s has moved: %s is served now", model, _name(model, newer))
                plan = newer
            complaint = ""
        except UserError as error:
            if str(error) != complaint:
                log.warning("serve: %s is served on: %s", plan.file.stem, error)
            complaint = str(error)


def _name(model: Path | None, plan: ModelPlan) -> str:
    """What a model is called in answers: its file's name, which a registered one has its version in."""
    return f"{model} ({plan.file.stem})" if str(model).startswith(REGISTERED) else plan.file.name


def _check_address(config: RunConfig, token: str) -> None:
    host = config.serve.host
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    if not own and not token:
        raise UserError(
            f"serve.host={host}: others than this machine could ask it: choose a token and set {TOKEN} to "
            "it, or leave serve.host at 127.0.0.1"
        )
