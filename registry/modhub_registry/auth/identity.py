"""Who asks, and what that one may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub_registry.auth import tokens
from modhub_registry.auth.tokens import ADMIN, READ
from modhub_registry.errors import Forbidden, RepoNotFound, Unauthorized

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from modhub_registry.auth.tokens import Token
    from modhub_registry.storage.repos import Repo

BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105  The very words that the Hub's clients look for.


@dataclass(frozen=True)
class Identity:
    """The holder of a token, or anybody."""

    token: Token | None = None

    @property
    def user(self) -> str:
        """Return the user's name, empty for anybody."""
        return self.token.user if self.token else ""

    @property
    def token_id(self) -> str:
        """Return what the log calls the token, empty for none."""
        return self.token.id if self.token else ""

    @property
    def is_admin(self) -> bool:
        """Tell whether everything is allowed."""
        return self.token is not None and self.token.scope == ADMIN

    @property
    def owners(self) -> frozenset[str] | None:
        """Return whose private repositories may be read; None for everybody's."""
        if self.is_admin:
            return None
        return frozenset(self.token.owners) if self.token else frozenset()

    def check_read(self, repo: Repo) -> None:
        """Check that a repository may be read.

        Raises:
            RepoNotFound: it may not; who may not read it does not learn that it is there.
        """
        if repo.private and self.owners is not None and repo.owner not in self.owners:
            raise RepoNotFound(f"there is no {repo.kind} {repo.full_name}, or it is not for you")

    def check_write(self, owner: str) -> Token:
        """Check that repositories of an owner may be changed, and return the token that allows it.

        Raises:
            Unauthorized: there is no token.
            Forbidden: the token does not allow it.
        """
        token = self.check_known()
        if token.scope == READ:
            raise Forbidden(f"the token of {token.user} has the scope 'read', and this takes 'write'")
        if token.scope != ADMIN and owner not in token.owners:
            raise Forbidden(f"the token of {token.user} may write to {', '.join(token.owners)}, not to {owner}")
        return token

    def check_known(self) -> Token:
        """Return the token.

        Raises:
            Unauthorized: there is none.
        """
        if self.token is None:
            raise Unauthorized("this takes a token: make one with `modhub registry token create` where the server is")
        return self.token


def identify(connection: Connection, authorization: str | None) -> Identity:
    """Return who sent the `Authorization` header; anybody where there is none.

    Raises:
        Unauthorized: there is one, and it is no token that may be used now.
    """
    if not authorization:
        return Identity()
    scheme, _, text = authorization.partition(" ")
    found = tokens.find(connection, text.strip()) if scheme.lower() == "bearer" else None
    if found is None or not found.is_good():
        raise Unauthorized(BAD_TOKEN)
    return Identity(found)
