"""What goes around every request: counting it, holding back who asks too often, and answering errors readably."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from modhub.errors import HubError
from modhub_registry.errors import Malformed, MethodNotAllowed, NoSuchRoute, Refusal, TooManyRequests

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from modhub_registry.meters import Meters

HEADER_LENGTH = 1000
"""Of an error's message in a header; the whole of it is in the body."""

DRAINED_BYTES = 64 << 20
"""Of a body that nobody wants. A client that still sends when it is refused would not see why."""

CALLERS = 100_000
"""Whose requests are counted at a time."""

log = logging.getLogger("modhub.registry")


class RawPath:
    """Routes see the address as it was sent, so that ``%2F`` in a tag does not end it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].partition(b"?")[0].decode("latin-1")}
        await self.app(scope, receive, send)


class Drain:
    """A client is heard out before it is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; before an error goes out, take what is left of the body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        more = True

        async def counted() -> Message:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400 and not _waits(scope):
                left = DRAINED_BYTES
                while more and left > 0:
                    left -= len((await counted()).get("body", b""))
            await send(message)

        await self.app(scope, counted, answer)


class Counted:
    """Every request is counted by its route, never by its address, which strangers choose."""

    def __init__(self, app: ASGIApp, *, meters: Meters) -> None:
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                self.meters.sent.inc(len(message.get("body", b"")))
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.meters.requests.labels(scope["method"], route, str(status)).inc()
            self.meters.seconds.labels(route).observe(time.perf_counter() - started)


class RateLimit:
    """Each token, or each address without one, may ask so often a minute; what is left over is not lost at once."""

    def __init__(self, app: ASGIApp, *, per_minute: int) -> None:
        self.app, self.per_minute = app, per_minute
        self._left: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and self.per_minute:
            wait = self._wait(_caller(scope), time.monotonic())
            if wait:
                await refused(_too_often(wait, self.per_minute))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _wait(self, caller: bytes, now: float) -> float:
        """Take one from what a caller has left; return the seconds to wait where there is none."""
        left, since = self._left.pop(caller, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - since) * self.per_minute / 60)
        allowed = left >= 1
        self._left[caller] = (left - 1 if allowed else left, now)
        if len(self._left) > CALLERS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / self.per_minute


def refused(error: Refusal) -> Response:
    """Return the answer that a refusal is."""
    text = " ".join("".join(char if char.isprintable() else " " for char in error.message).split())
    headers = {
        **error.headers,
        "X-Error-Code": error.code,
        "X-Error-Message": text.encode("ascii", "replace").decode()[:HEADER_LENGTH],
    }
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="modhub"'
    return JSONResponse({"error": error.message}, error.status, headers)


def on_refusal(_request: Request, error: Exception) -> Response:
    """Answer a refusal of ours."""
    return refused(error) if isinstance(error, Refusal) else on_bug(_request, error)


def on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown address, or a method that it does not take."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        headers = dict(error.headers or {})
        return refused(MethodNotAllowed(f"{request.method} is not for this address", headers=headers))
    return refused(NoSuchRoute(f"nothing is at {request.url.path[:200]!r}"))


def on_storage_error(_request: Request, error: Exception) -> Response:
    """Answer that the disk or the store refused: the client may try again."""
    log.error("storage: %s", error)
    headers = {"X-Error-Code": "StorageError", "X-Error-Message": "the server cannot write", "Retry-After": "30"}
    return JSONResponse({"error": "the server's storage refuses; try again later"}, 503, headers)


def on_disconnect(_request: Request, _error: Exception) -> Response:
    """Answer a client that went away before it had sent all; nobody will read it."""
    return refused(Malformed("the body broke off"))


def on_bug(request: Request, error: Exception) -> Response:
    """Answer what nobody expected; the log has the rest."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    headers = {"X-Error-Code": "InternalError", "X-Error-Message": "a bug of the server; its log says more"}
    return JSONResponse({"error": "a bug of the server; its log says more"}, 500, headers)


def handlers() -> dict[Any, Any]:
    """Return what answers which exception."""
    away = dict.fromkeys((HubError, OSError, OperationalError, PoolTimeout), on_storage_error)
    gone = {ClientDisconnect: on_disconnect}
    return {Refusal: on_refusal, HTTPException: on_http_error, **away, **gone, Exception: on_bug}


def _too_often(wait: float, per_minute: int) -> TooManyRequests:
    seconds = math.ceil(wait)
    headers = {"Retry-After": str(seconds), "RateLimit": f'"api";r=0;t={seconds}'}
    return TooManyRequests(f"more than {per_minute} requests a minute: wait {seconds} s", headers=headers)


def _caller(scope: Scope) -> bytes:
    """Return whose request it is, without keeping the token itself."""
    token = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    address = (scope.get("client") or ("", 0))[0]
    return hashlib.sha256(token or address.encode()).digest()[:16]


def _waits(scope: Scope) -> bool:
    """Tell whether a client sends its body only when it is asked to."""
    return any(name == b"expect" for name, _ in scope["headers"])
