"""The endpoint on Ray Serve: replicas that hold the model and gather pictures into batches, and who asks.

A request is at one replica. Where that one dies, its pictures are sent once more, to another.
"""

import asyncio
import io
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.config import BackpressureConfig, HTTPOptions
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

from hgg.config import ModelConfig
from hgg.explain_page import explained, why_not
from hgg.poses import Poses
from hgg.predictor import Predictor
from pipeline.base.errors import UserError
from pipeline.base.memory import keep_freed_memory
from pipeline.cluster.resources import limit_threads, worker_resources
from pipeline.prediction.model_plan import ModelPlan
from pipeline.serving.app import Answer, Busy, make_app
from pipeline.serving.guard import RETRY_SECONDS
from pipeline.settings.config import RunConfig
from pipeline.settings.using import ServeConfig

APP, MODEL = "hgg", "Model"
TRIES = 2  # of a request whose replica dies
CLOSING_SECONDS = 20.0  # that requests at work have where the endpoint ends
ANSWER_SECONDS = 120.0  # after which a request is given up
ENDED = "Task ServeController.graceful_shutdown failed"
QUIET = {"log_level": "WARNING", "enable_access_log": False}


class Model:
    """A replica: pictures of whatever requests go through the network together.

    Args:
        plan: how the model is run; which file and settings it has comes by `reconfigure`.
        config: how batches are gathered.
    """

    def __init__(self, plan: ModelPlan, config: ServeConfig) -> None:
        keep_freed_memory()
        limit_threads(plan.train)
        self.plan = plan
        # One look at a time: those of `explain` and of batches share the model.
        self.lock = threading.Lock()
        self.predictor: Predictor | None = None
        self.name, self.file = "", plan.file
        batches: Any = self._together
        batches.set_max_batch_size(config.batch_size)
        batches.set_batch_wait_timeout_s(config.batch_wait)

    async def reconfigure(self, served: dict[str, str]) -> None:
        """Take a model over: that of before answers until this one is whole."""
        await asyncio.to_thread(self._take, served)

    def _take(self, served: dict[str, str]) -> None:
        settings = ModelConfig.model_validate_json(served["settings"])
        plan = self.plan._replace(file=Path(served["file"]), settings=settings)
        predictor = plan.predictor()
        with self.lock:
            self.predictor, self.name, self.file = predictor, served["name"], plan.file

    async def people(self, pictures: Sequence[np.ndarray]) -> Answer:
        """The people of a request's pictures."""
        found = await asyncio.gather(*(self._together(picture) for picture in pictures))
        # A new model may have come between two of them: then all are asked of the new one.
        if len({name for _, _, name in found}) > 1:
            return await self.people(pictures)
        _, skeleton, name = found[0]
        return Answer([poses for poses, _, _ in found], skeleton, name)

    @serve.batch
    async def _together(self, pictures: list[np.ndarray]) -> list[tuple[Poses, Any, str]]:
        return await asyncio.to_thread(self._find, pictures)

    def _find(self, pictures: list[np.ndarray]) -> list[tuple[Poses, Any, str]]:
        with self.lock:
            assert self.predictor is not None, "Ray Serve calls reconfigure first"
            skeleton = self.predictor.model.config.joints
            return [(poses, skeleton, self.name) for poses in self.predictor.predict(pictures)]

    async def explain(self, picture: np.ndarray, title: str) -> tuple[str, str]:
        """A picture's grouping as a page, or why there is none."""
        return await asyncio.to_thread(self._explain, picture, title)

    def _explain(self, picture: np.ndarray, title: str) -> tuple[str, str]:
        with self.lock:
            assert self.predictor is not None, "Ray Serve calls reconfigure first"
            if problem := why_not(self.predictor):
                return "", problem
            return explained(self.predictor, picture).html(title), ""

    async def card(self) -> dict[str, Any]:
        """What the model is."""
        assert self.predictor is not None, "Ray Serve calls reconfigure first"
        config = self.predictor.model.config
        card = self.file.with_suffix(".md")
        return {
            "model": self.name,
            "keypoints": list(config.joints.names),
            "limbs": [list(limb) for limb in config.joints.limbs],
            "input_size": config.network.input_size,
            "grouping": config.grouping.decoder,
            "card": card.read_text(encoding="utf-8") if card.is_file() else "",
        }


class _Replicas:
    """The model's replicas, as the application asks them."""

    async def people(self, pictures: Sequence[np.ndarray]) -> Answer:
        return await _asked("people", list(pictures))

    async def explain(self, picture: np.ndarray, title: str) -> str:
        page, problem = await _asked("explain", picture, title)
        if problem:
            raise ValueError(problem)
        return page

    async def card(self) -> dict[str, Any]:
        return await _asked("card")


async def _asked(method: str, *arguments: Any) -> Any:
    """A replica's answer; another one's where it dies meanwhile. Raises `Busy`."""
    for left in reversed(range(TRIES)):
        try:
            handle = serve.get_deployment_handle(MODEL, app_name=APP)
            return await getattr(handle, method).remote(*arguments)
        except BackPressureError as error:
            raise Busy from error
        except (RayActorError, ReplicaUnavailableError, DeploymentUnavailableError) as error:
            if not left:
                raise Busy("the model is being started again: try again") from error
    raise AssertionError("every try returns or raises")


def application(
    first: ModelPlan, plan: ModelPlan, name: str, config: ServeConfig, token: str
) -> serve.Application:
    """What Ray Serve runs: the application before the replicas of the model.

    A second one with another plan, run in the place of the first, has the replicas take its model over
    without being started again, as nothing else of it differs.

    Args:
        first: what was served at first.
        plan: what is served now.
        name: of that in answers.
        config: replicas and limits.
        token: that requests must bring.
    """
    resources = worker_resources(first.train)
    served = {"file": str(plan.file), "name": name, "settings": plan.settings.model_dump_json()}
    model: Any = serve.deployment(
        Model,
        name=MODEL,
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0)},
        user_config=served,
        max_ongoing_requests=2 * config.batch_size,
        max_queued_requests=config.max_requests,
        graceful_shutdown_timeout_s=CLOSING_SECONDS,
    )

    def build() -> Any:
        return make_app(_Replicas(), config, token)

    door: Any = serve.deployment(
        serve.ingress(build)(),
        name="Door",
        ray_actor_options={"num_cpus": 0},
        # More are turned away by the application itself, whose bound is lower.
        max_ongoing_requests=4 * config.max_requests,
        max_queued_requests=4 * config.max_requests,
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_SECONDS),
        graceful_shutdown_timeout_s=CLOSING_SECONDS,
    )
    return door.bind(model.bind(first, config))


class Endpoint:
    """Ray Serve at an address, within a `with` block; at its end requests at work are answered first.

    Args:
        config: address and limits.
        token: that requests must bring; "" asks for none.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, config: RunConfig, token: str) -> None:
        self.config, self.token = config, token
        self.host = config.serve.host
        self.port = _free_port(self.host, config.serve.port)
        self.first: ModelPlan | None = None

    @property
    def address(self) -> str:
        """Where the page is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def __enter__(self) -> Self:
        """Start Ray Serve."""
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # the driver's own lines
        options = HTTPOptions(host=self.host, port=self.port, request_timeout_s=ANSWER_SECONDS)
        serve.start(http_options=options, logging_config=QUIET)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        with redirect_stdout(io.StringIO()) as said:
            serve.shutdown()
        # Its controller ends itself by ray.kill, which Ray then prints as the failure of that call.
        for line in said.getvalue().splitlines():
            if ENDED not in line:
                print(line)

    def show(self, plan: ModelPlan, name: str) -> None:
        """Serve a model, or another in its place, whose turn comes without a request being dropped."""
        self.first = self.first or plan
        app = application(self.first, plan, name, self.config.serve, self.token)
        serve.run(app, name=APP, route_prefix="/", logging_config=QUIET)


def _free_port(host: str, port: int) -> int:
    """The port, or any that is free where it is 0; `UserError` where it is taken."""
    try:
        with socket.create_server((host, port)) as server:
            return server.getsockname()[1]
    except OSError as error:
        raise UserError(f"serve.host={host}, serve.port={port}: {error.strerror}: choose another") from error
