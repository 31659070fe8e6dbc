"""Who sends wrong tokens is not listened to for a while: tokens are not to be found by trying."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from modhub_registry.around import refused
from modhub_registry.errors import TooManyRequests

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PERIOD_S = 300.0
"""For which wrong tokens are remembered."""

OF_ALL = 100
"""Times as many wrong tokens are taken from all addresses together as from one."""

REMEMBERED = 100_000
"""Addresses, and good tokens, at a time."""

IDENTIFIED = "modhub_registry.identified"
"""What a request's scope says once its token was found in the database and is good."""


class Guesses:
    """Each address may send so many wrong tokens in five minutes, and all together a hundred times as many.

    After that, tokens are not looked at, but for those that were good a while ago: a guesser next door locks nobody out
    who is at work already.
    """

    def __init__(self, app: ASGIApp, *, wrong_tokens: int) -> None:
        self.app, self.wrong_tokens = app, wrong_tokens
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        token = _token(scope) if self.wrong_tokens and scope["type"] == "http" else b""
        if not token:
            await self.app(scope, receive, send)
            return
        address = (scope.get("client") or ("", 0))[0]
        key = hashlib.sha256(token).digest()[:16]
        wait = 0.0 if key in self._good else self._wait(address, time.monotonic())
        if wait:
            seconds = math.ceil(wait)
            problem = f"too many wrong tokens: wait {seconds} s"
            await refused(TooManyRequests(problem, headers={"Retry-After": str(seconds)}))(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._learn(address, key, status=message["status"], is_good=bool(scope.get(IDENTIFIED)))
            await send(message)

        await self.app(scope, receive, answer)

    def _wait(self, address: str, now: float) -> float:
        """Return for how many seconds no token from an address is looked at."""
        waits = [0.0]
        for times, limit in ((self._wrong.get(address), self.wrong_tokens), (self._all, OF_ALL * self.wrong_tokens)):
            while times and now - times[0] > PERIOD_S:
                times.popleft()
            if times and len(times) >= limit:
                waits.append(PERIOD_S - (now - times[-limit]))
        return max(waits)

    def _learn(self, address: str, key: bytes, *, status: int, is_good: bool) -> None:
        """Remember a good token, or that a wrong one was sent."""
        if is_good:
            self._good[key] = None
            self._good.move_to_end(key)
            if len(self._good) > REMEMBERED:
                self._good.popitem(last=False)
        elif status == 401:
            self._good.pop(key, None)
            now = time.monotonic()
            self._all.append(now)
            self._wrong.setdefault(address, deque()).append(now)
            self._wrong.move_to_end(address)
            if len(self._wrong) > REMEMBERED:
                self._wrong.popitem(last=False)


def _token(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")
