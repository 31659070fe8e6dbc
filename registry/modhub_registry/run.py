"""The process: settings in, a served registry out."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from modhub.errors import UsageError
from modhub_registry.app import create_app
from modhub_registry.deadlines import protocol
from modhub_registry.storage.registry import open_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub_registry.settings import Settings

GRACE_SECONDS = 30
"""How long requests that are under way may take after the server was asked to stop."""

BACKLOG = 2048


def serve(settings: Settings, *, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve a registry until the process is asked to stop; requests under way are answered first.

    Args:
        port: 0 for any that is free.
        started: called with the address once the server takes requests.

    Raises:
        UsageError: the address is taken or not of this machine, or a setting is wrong.
        StorageError: the folder cannot be written.
    """
    listener = _listen(host, port)
    try:
        registry = open_registry(settings)
        server = make_server(create_app(registry))
        server.started_with = lambda: started(address_of(listener))
        # The server handles these itself while it runs, and sends them again when it has ended.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        server.run(sockets=[listener])
    finally:
        listener.close()


class Server(uvicorn.Server):
    """A server that says when it takes requests."""

    started_with: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self.started_with()


def make_server(app: object) -> Server:
    """Return a server of an application."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=protocol(),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=True,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=64 << 10,
    )
    server = Server(config)
    server.started_with = lambda: None
    return server


def address_of(listener: socket.socket) -> str:
    """Return the address that a person may open."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  That is what is looked for.
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener
