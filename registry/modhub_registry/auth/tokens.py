"""Tokens: texts of 256 random bits, of which the database holds no more than a digest."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, insert, select, update

from modhub.errors import NotFound, UsageError
from modhub.spec.names import check_hub_name
from modhub_registry.storage.database import now_ms
from modhub_registry.storage.registry import write_audit
from modhub_registry.storage.tables import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection

PREFIX = "hf_modhub_"
"""The client for JavaScript takes no token that does not begin with ``hf_``."""
READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = (READ, WRITE, ADMIN)
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a token allows.

    Args:
        owners: whose repositories it may read where they are private, and write where its scope is ``write``.
    """

    id: str
    user: str
    scope: str
    owners: tuple[str, ...]
    label: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def is_good(self) -> bool:
        """Tell whether it may be used now."""
        return self.revoked_at is None and (self.expires_at is None or now_ms() < self.expires_at)


def create(
    connection: Connection,
    *,
    user: str,
    scope: str,
    owners: Sequence[str] = (),
    label: str = "",
    days: int | None = None,
) -> tuple[str, Token]:
    """Make a token; return its text, which nobody can tell a second time, and what it allows.

    Raises:
        InvalidName: the user or an owner breaks the rules for names.
        UsageError: the scope is unknown, or it would have expired already.
    """
    if scope not in SCOPES:
        raise UsageError(f"the scope is {scope!r}; expected one of {', '.join(SCOPES)}")
    if days is not None and days <= 0:
        raise UsageError(f"the token would last {days} days; expected at least 1")
    for name in (user, *owners):
        check_hub_name(name, what="owner")
    text = PREFIX + secrets.token_urlsafe(32)
    now = now_ms()
    token = Token(
        id=secrets.token_hex(4),
        user=user,
        scope=scope,
        owners=tuple(dict.fromkeys((user, *owners))),
        label=label[:96],
        created_at=now,
        expires_at=None if days is None else now + days * DAY_MS,
        revoked_at=None,
    )
    row = {name: getattr(token, name) for name in Token.__dataclass_fields__}
    connection.execute(insert(tokens), {**row, "owners": list(token.owners), "hash": digest(text)})
    _tell(connection, token, "token.create")
    return text, token


def find(connection: Connection, text: str) -> Token | None:
    """Return the token that a text is, or None; it may be expired or revoked."""
    row = connection.execute(select(tokens).where(tokens.c.hash == digest(text))).mappings().one_or_none()
    return _token(row) if row is not None else None


def all_tokens(connection: Connection) -> list[Token]:
    """Return all tokens, oldest first."""
    rows = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id)).mappings()
    return [_token(row) for row in rows]


def revoke(connection: Connection, id: str) -> None:
    """Make a token useless from now on.

    Raises:
        NotFound: there is none with this id, or it is revoked already.
    """
    place = and_(tokens.c.id == id, tokens.c.revoked_at.is_(None))
    row = connection.execute(select(tokens).where(place)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no token {id!r} that could be revoked")
    connection.execute(update(tokens).where(place).values(revoked_at=now_ms()))
    _tell(connection, _token(row), "token.revoke")


def digest(text: str) -> str:
    """Return what the database holds of a token: its bits are random, so a plain digest tells nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _token(row: Mapping[Any, Any]) -> Token:
    kept = {name: row[name] for name in Token.__dataclass_fields__}
    return Token(**{**kept, "owners": tuple(kept["owners"])})


def _tell(connection: Connection, token: Token, action: str) -> None:
    detail = {"scope": token.scope, "owners": list(token.owners), "label": token.label}
    write_audit(connection, user=token.user, token=token.id, action=action, subject=token.user, detail=detail)
