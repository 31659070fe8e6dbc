"""Connections that send too slowly, or too long a head, are closed: uvicorn itself would wait for ever."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Both protocols of uvicorn have what is used here, and no common base.
    Base = Any
else:
    Base = object

HEAD_SECONDS = 15.0
"""For all of a request's head, from its first byte; from the beginning of a connection for the first one."""

HEAD_BYTES = 64 << 10
"""Of a head that is still not complete."""

BODY_SECONDS = 20.0
"""After so long a body must have come at least at this rate, again and again while the server waits for it."""

BODY_BYTES_PER_SECOND = 256

TICK_SECONDS = 2.5


class Deadlines(Base):  # type: ignore[misc]
    """What is added to a protocol of uvicorn."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to watch."""
        super().connection_made(transport)
        self._head_since: float | None = time.monotonic()
        self._body_since, self._body, self._head = 0.0, 0, 0
        self._watching = asyncio.get_running_loop().call_later(TICK_SECONDS, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        self._watching.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note what came, and pass it on."""
        if self._is_between():
            self._head += len(data)
            self._head_since = self._head_since or time.monotonic()
        self._body += len(data)
        super().data_received(data)
        if not self._is_between():
            self._head, self._head_since = 0, None
        elif self._head > HEAD_BYTES:
            self.transport.abort()

    def _is_between(self) -> bool:
        """Tell whether no request is under way: what comes is the head of one."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """Close the connection if its client is too slow; else look again later."""
        now = time.monotonic()
        if self._is_between():
            slow = self._head_since is not None and now - self._head_since > HEAD_SECONDS
            self._body_since = 0.0
        else:
            slow = self._is_body_slow(now)
        if slow:
            self.transport.abort()
            return
        self._watching = asyncio.get_running_loop().call_later(TICK_SECONDS, self._watch)

    def _is_body_slow(self, now: float) -> bool:
        """Tell whether less of a body came than should have, while nobody but the client is waited for."""
        if not self.cycle.more_body or self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._body_since = 0.0
            return False
        if not self._body_since:
            self._body_since, self._body = now, 0
            return False
        passed = now - self._body_since
        if passed < BODY_SECONDS:
            return False
        slow = self._body < BODY_BYTES_PER_SECOND * passed
        self._body_since, self._body = now, 0
        return slow


def protocol() -> type[asyncio.Protocol]:
    """Return the protocol of the server: the fast one where it is installed, with deadlines."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Found
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Found  # type: ignore[assignment]

    return type("Protocol", (Deadlines, Found), {})
