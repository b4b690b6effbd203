"""Whether a Ray cluster answers at an address and lets this process in: asked in seconds, before Ray is.

Ray itself waits without end for an address that takes connections and stays silent, and says of a token that
it refuses only that no cluster was found.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.base.errors import UserError, first_line

ANSWER_SECONDS = 10
CLIENT, AUTO = "ray://", "auto"
HERE = ("127.0.0.1", "localhost", "::1")
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""At 0, Ray takes 127.0.0.1 for this machine's address, so that all of its ports are on loopback alone."""
ADVICE = "start the cluster, correct RAY_ADDRESS, or unset it to use a local one"
TOKENS = "RAY_AUTH_TOKEN (the token) or RAY_AUTH_TOKEN_PATH (its file, by default ~/.ray/auth_token)"


def check_reachable(address: str) -> None:
    """Raise `UserError` where no cluster answers at an address of RAY_ADDRESS, or where it refuses the token.

    Args:
        address: host:port, ray://host:port or auto.
    """
    import grpc
    from ray._private.grpc_utils import init_grpc_channel

    place = _place(address)
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise UserError(f"RAY_ADDRESS={address}: no cluster answers there; {ADVICE}") from error
    _check_token(address)
    channel: Any = init_grpc_channel(place)
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        if not address.startswith(CLIENT):
            _ask(channel)
    except grpc.FutureTimeoutError:
        raise UserError(
            f"RAY_ADDRESS={address}: takes connections, but no cluster answers there within {ANSWER_SECONDS} "
            f"seconds; {ADVICE}"
        ) from None
    except grpc.RpcError as error:
        raise _refused(address, error) from error
    finally:
        channel.close()


@contextmanager
def on_loopback() -> Iterator[None]:
    """Ray that is started in the `with` block takes 127.0.0.1 for this machine's address."""
    from ray._private import ray_constants

    before, named = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(LOOPBACK)
    ray_constants.ENABLE_RAY_CLUSTER = False  # this process may have read the variable already
    os.environ[LOOPBACK] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        if named is None:
            del os.environ[LOOPBACK]
        else:
            os.environ[LOOPBACK] = named


def is_on_loopback_alone(address: str) -> bool:
    """Whether what answers at 127.0.0.1 does not at the machine's own address, which Ray asks at."""
    import ray

    host, _, port = address.rpartition(":")
    if host not in HERE or not port.isdigit():
        return False
    try:
        socket.create_connection((ray.util.get_node_ip_address(), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError:
        return True
    return False


def _place(address: str) -> str:
    """Host and port that an address means."""
    from ray._private.services import canonicalize_bootstrap_address

    form = f"RAY_ADDRESS={address}: write host:port, ray://host:port or auto"
    if "://" in address:
        place = address.removeprefix(CLIENT)
    else:
        try:
            place = (
                address if is_on_loopback_alone(address) else canonicalize_bootstrap_address(address) or ""
            )
        except ConnectionError as error:
            raise UserError(f"RAY_ADDRESS={address}: no cluster answers there; {ADVICE}") from error
        except ValueError as error:
            raise UserError(form) from error
    port = place.rpartition(":")[2]
    if "://" in place or not (port.isdigit() and 0 < int(port) < 1 << 16):
        raise UserError(form)
    return place


def _check_token(address: str) -> None:
    """Raise `UserError` where RAY_AUTH_MODE asks for a token and there is none."""
    from ray import _raylet as compiled
    from ray._private.authentication import authentication_token_setup as setup
    from ray.exceptions import AuthenticationError

    if address == AUTO:  # alone here Ray takes up a token by itself, and announces it
        logging.getLogger(setup.__name__).setLevel(logging.ERROR)
        setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    raylet: Any = compiled
    if raylet.get_authentication_mode() != raylet.AuthenticationMode.TOKEN:
        return
    try:
        there, why = (
            raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True),
            "there is no token",
        )
    except AuthenticationError as error:  # the file that a variable names cannot be read
        there, why = False, first_line(error).partition(". ")[0]
    if not there:
        raise UserError(
            f"RAY_ADDRESS={address}: RAY_AUTH_MODE=token, but {why}: give the cluster's own in {TOKENS}"
        )


def _ask(channel: Any) -> None:
    """Ask the cluster for its id, which it tells nobody without its token."""
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
    request = gcs_service_pb2.GetClusterIdRequest()  # pyrefly: ignore[missing-attribute]  # made at import
    stub.GetClusterId(request, timeout=ANSWER_SECONDS)


def _refused(address: str, error: Any) -> UserError:
    import grpc

    if error.code() == grpc.StatusCode.UNAUTHENTICATED:
        mode = os.environ.get("RAY_AUTH_MODE")
        given = (
            "this job's token" if mode == "token" else f"a job without a token (RAY_AUTH_MODE={mode or ''})"
        )
        return UserError(
            f"RAY_ADDRESS={address}: the cluster refuses {given}: set RAY_AUTH_MODE=token, and give the "
            f"cluster's own token in {TOKENS}"
        )
    return UserError(f"RAY_ADDRESS={address}: no cluster answers there ({error.code().name}); {ADVICE}")
