"""A real self-hosted registry on loopback, in a thread of this process."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.hub.huggingface import HuggingFaceBackend
from modhub_registry.app import create_app
from modhub_registry.auth import tokens
from modhub_registry.run import make_server
from modhub_registry.settings import Settings
from modhub_registry.storage.registry import Registry, open_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 20


@dataclass(frozen=True)
class Served:
    """A registry that is being served: its address, and a token of ``acme`` that may write."""

    url: str
    token: str
    registry: Registry

    def backend(self, url: str = "") -> HuggingFaceBackend:
        """Return it as a backend that may write, perhaps through a proxy."""
        return HuggingFaceBackend.of_server(url or self.url).with_token(self.token)

    def reader(self, user: str = "guest", scope: str = "read") -> HuggingFaceBackend:
        """Return it as a backend for somebody else."""
        return HuggingFaceBackend.of_server(self.url).with_token(make_token(self.registry, user=user, scope=scope))


@contextmanager
def served(root: Path, *, private: bool = False, checks: str = "index") -> Iterator[Served]:
    """Serve a registry from a folder while the block runs.

    What tests publish are no networks, so the server looks no further than indexes and digests.
    """
    registry = open_registry(Settings(root=root, private=private, checks=checks))
    server = make_server(create_app(registry))
    ready = threading.Event()
    server.started_with = ready.set
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Served(url, make_token(registry, user="acme", scope="write"), registry)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


def make_token(registry: Registry, *, user: str, scope: str) -> str:
    """Make a token that works until it is revoked."""
    with registry.database.writing() as connection:
        text, _ = tokens.create(connection, user=user, scope=scope, label="tests")
    return text
