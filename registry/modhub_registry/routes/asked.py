"""A request, and what answering it needs."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from modhub_registry.auth.identity import Identity, identify
from modhub_registry.errors import Malformed, TooLarge, Unauthorized
from modhub_registry.guesses import IDENTIFIED
from modhub_registry.storage import repos
from modhub_registry.storage.registry import write_audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection
    from starlette.requests import Request
    from starlette.responses import Response

    from modhub_registry.storage.registry import Registry
    from modhub_registry.storage.repos import Repo

KINDS = {f"{kind}s": kind for kind in repos.KINDS}


@dataclass(frozen=True)
class Asked:
    """A request with its body, read as far as it may be."""

    request: Request
    body: bytes = b""

    @property
    def registry(self) -> Registry:
        """Return the stores of the registry."""
        found: Registry = self.request.app.state.registry
        return found

    @property
    def base_url(self) -> str:
        """Return how clients reach this server, without a slash at the end."""
        return (self.registry.settings.public_url or str(self.request.base_url)).rstrip("/")

    @property
    def kind(self) -> str:
        """Return what sort of repository the address is about."""
        return KINDS[self.request.path_params.get("kind", "models")]

    def part(self, name: str) -> str:
        """Return a part of the address, decoded.

        Raises:
            Malformed: it is no text, or holds signs that nobody can see.
        """
        return decoded(str(self.request.path_params.get(name, "")))

    def query(self, name: str, default: str = "") -> str:
        """Return a value from behind the question mark.

        Raises:
            Malformed: it holds signs that nobody can see.
        """
        return visible(self.request.query_params.get(name, default))

    def queries(self, name: str) -> tuple[str, ...]:
        """Return all values of one name."""
        return tuple(visible(value) for value in self.request.query_params.getlist(name))

    def number(self, name: str, default: int) -> int:
        """Return a number from behind the question mark.

        Raises:
            Malformed: it is none, or negative.
        """
        text = self.query(name, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise Malformed(f"{name} is {text[:60]!r}; expected a whole number")
        return int(text)

    def flag(self, name: str) -> bool:
        """Return whether a value is yes."""
        return self.query(name).lower() in {"true", "1"}

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            Malformed: it is none.
        """
        return json_object(self.body)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Run the block in a transaction that changes nothing."""
        with self.registry.database.reading() as connection:
            yield self._session(connection)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Run the block in a transaction that changes all of what it says, or nothing."""
        with self.registry.database.writing() as connection:
            yield self._session(connection)

    def _session(self, connection: Connection) -> Session:
        identity = identify(connection, self.request.headers.get("authorization"))
        self.request.scope[IDENTIFIED] = identity.token is not None
        if self.registry.settings.private and identity.token is None:
            raise Unauthorized("this registry is private: every request takes a token")
        return Session(self, connection, identity)


@dataclass(frozen=True)
class Session:
    """A request within a transaction: who asks, and the repository it is about."""

    asked: Asked
    connection: Connection
    identity: Identity

    def repo(self) -> Repo:
        """Return the repository that the address names.

        Raises:
            RepoNotFound: there is none, or it is not for who asks.
        """
        owner, name = self.asked.part("owner"), self.asked.part("name")
        return self.repo_named(self.asked.kind, owner, name)

    def repo_named(self, kind: str, owner: str, name: str) -> Repo:
        """Return a repository by its name.

        Raises:
            RepoNotFound: there is none, or it is not for who asks.
        """
        repo = repos.find(self.connection, kind, owner, name)
        self.identity.check_read(repo)
        return repo

    def writable_repo(self) -> Repo:
        """Return the repository that the address names, to change it.

        Raises:
            RepoNotFound: there is none, or it is not for who asks.
            Unauthorized: there is no token.
            Forbidden: the token does not allow it.
        """
        self.identity.check_known()
        repo = self.repo()
        self.identity.check_write(repo.owner)
        return repo

    def tell(self, action: str, subject: str, **detail: object) -> None:
        """Add a line to the log."""
        identity = self.identity
        write_audit(
            self.connection,
            user=identity.user,
            token=identity.token_id,
            action=action,
            subject=subject,
            detail=detail,
        )


def get(path: str, answer: Callable[[Asked], Response]) -> Route:
    """Return the route of a request without a body."""

    def endpoint(request: Request) -> Response:
        return answer(Asked(request))

    return Route(path, endpoint, methods=["GET"], name=answer.__name__)


def send(method: str, path: str, answer: Callable[[Asked], Response]) -> Route:
    """Return the route of a request with a body that fits into memory."""

    async def endpoint(request: Request) -> Response:
        body = await small_body(request)
        return await run_in_threadpool(answer, Asked(request, body))

    return Route(path, endpoint, methods=[method], name=answer.__name__)


async def small_body(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        TooLarge: it exceeds what is read into memory.
    """
    registry: Registry = request.app.state.registry
    limit = registry.settings.limits.json_bytes
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that some bytes hold.

    Raises:
        Malformed: they hold none, or texts that no database takes.
    """
    try:
        found = json.loads(data)
        if b"\\u" in data and "\x00" in json.dumps(found, ensure_ascii=False).encode().decode().replace(
            "\\u0000", "\x00"
        ):
            raise Malformed("the JSON holds a text with the sign U+0000")
    except (ValueError, RecursionError) as error:
        raise Malformed(f"expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise Malformed(f"expected a JSON object, got {type(found).__name__}")
    return found


def decoded(text: str) -> str:
    """Return a part of an address without its percent signs.

    Raises:
        Malformed: it is no UTF-8, or holds signs that nobody can see.
    """
    try:
        return visible(unquote(text, errors="strict"))
    except UnicodeDecodeError as error:
        raise Malformed(f"the address holds {text[:60]!r}, which is no UTF-8") from error


def visible(text: str) -> str:
    """Return a text that holds nothing but visible signs and spaces.

    Raises:
        Malformed: it holds others.
    """
    if not text.isprintable():
        raise Malformed(f"the address holds {text[:60]!r}, which cannot be printed")
    return text


def text_field(document: dict[str, Any], name: str, default: str = "") -> str:
    """Return a text from a JSON object; what is not there, or is null, is the default.

    Raises:
        Malformed: it is no text.
    """
    found = document.get(name)
    if found is None:
        return default
    if not isinstance(found, str):
        raise Malformed(f"{name} is {found!r:.60}; expected a text")
    return found
