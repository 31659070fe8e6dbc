"""A registry that really listens on this machine, and ways to talk to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi

from modhub_registry.app import create_app
from modhub_registry.auth import tokens
from modhub_registry.run import make_server
from modhub_registry.settings import Limits, Settings
from modhub_registry.storage.registry import open_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from modhub_registry.storage.registry import Registry

# Small, so that tests reach them with small files.
LIMITS = Limits(
    regular_bytes=64 << 10,
    file_bytes=8 << 20,
    commit_bytes=4 << 20,
    json_bytes=256 << 10,
    multipart_bytes=1 << 20,
    part_bytes=512 << 10,
    requests_per_minute=0,
    wrong_tokens=0,
)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass
class Service:
    """A registry that listens, and its tokens."""

    url: str
    registry: Registry
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def token(self, user: str, scope: str = "write", **options: Any) -> str:
        """Return a token of a user, the same one for the same user and scope."""
        if options or (user, scope) not in self.tokens:
            with self.registry.database.writing() as connection:
                text, _ = tokens.create(connection, user=user, scope=scope, **options)
            if options:
                return text
            self.tokens[user, scope] = text
        return self.tokens[user, scope]

    def api(self, user: str = "alice", scope: str = "write") -> HfApi:
        """Return the Hub's own client, as a user; as nobody where that is empty."""
        return HfApi(endpoint=self.url, token=self.token(user, scope) if user else False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        user: str = "",
        scope: str = "write",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request as it is written here, and return the answer."""
        sent = dict(headers or {})
        if user:
            sent.setdefault("Authorization", f"Bearer {self.token(user, scope)}")
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request(method, path, data, sent)
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def commit(self, repo: str, *lines: dict[str, Any], user: str = "alice", branch: str = "main") -> Answer:
        """Send a commit line by line."""
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        headers = {"Content-Type": "application/x-ndjson"}
        return self.call("POST", f"/api/models/{repo}/commit/{branch}", body, user=user, headers=headers)


@contextmanager
def served(root: Path, *, limits: Limits = LIMITS, **choices: Any) -> Iterator[Service]:
    """Serve a registry from a folder while the block runs."""
    registry = open_registry(Settings(root=root, limits=limits, **choices))
    server = make_server(create_app(registry))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    ready = threading.Event()
    server.started_with = ready.set
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert ready.wait(30), "the server did not start"
    try:
        yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", registry)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def header(summary: str = "change", **more: str) -> dict[str, Any]:
    """Return the first line of a commit."""
    return {"key": "header", "value": {"summary": summary, "description": "", **more}}
