"""What every request passes before anything of it is read: token, size, and how many are at work."""

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/", "/healthz", "/readyz")
"""What is answered without a token: the page, which asks for one, and what a load balancer looks at."""
RETRY_SECONDS = 1


class TooLarge(Exception):
    """More bytes came than a request may have."""

    def __init__(self, most: int) -> None:
        text = f"a request may have {most} bytes (serve.max_bytes): send smaller or fewer pictures"
        super().__init__(text)


class Guard:
    """ASGI middleware that answers 401, 413 and 503 by itself.

    Memory is bounded by it: so many requests at a time, of so many bytes each.

    Args:
        app: what it guards.
        token: that a request must bring as `Authorization: Bearer TOKEN`; "" asks for none.
        max_bytes: of a request's body.
        most: requests with a body that are at work at a time.
    """

    def __init__(self, app: Application, token: str, max_bytes: int, most: int) -> None:
        self.app, self.token, self.max_bytes, self.most = app, token, max_bytes, most
        self.at_work = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or let the request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.token and scope["path"] not in OPEN and not self._knows(headers.get(b"authorization", b"")):
            text = "give the token that this endpoint was started with: Authorization: Bearer TOKEN"
            await answer(send, 401, text, {"WWW-Authenticate": "Bearer"})
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await answer(send, 413, str(TooLarge(self.max_bytes)), {"Connection": "close"})
            return
        if self.at_work >= self.most:
            await busy(send)
            return
        self.at_work += 1
        try:
            await self._counted(scope, receive, send)
        finally:
            self.at_work -= 1

    def _knows(self, given: bytes) -> bool:
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())

    async def _counted(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let a request through; who reads more bytes of it than it may have gets `TooLarge`."""
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self.max_bytes:
                raise TooLarge(self.max_bytes)
            return message

        await self.app(scope, counted, send)


async def busy(send: Send) -> None:
    """503: come again."""
    text = "as many requests are at work as there is room for: try again"
    await answer(send, 503, text, {"Retry-After": str(RETRY_SECONDS)})


async def answer(send: Send, status: int, text: str, headers: dict[str, str]) -> None:
    """Send a sentence as JSON."""
    body = json.dumps({"error": text}).encode()
    told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
