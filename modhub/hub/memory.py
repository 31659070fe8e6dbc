"""A registry in memory: for tests, and for trying things out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from modhub.errors import CommitConflict, IntegrityError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modhub.spec.names import CollectionId


class MemoryBackend:
    """Collections as dictionaries; every revision is kept.

    Args:
        remote: behave like a registry that offline work does without.
    """

    def __init__(self, name: str = "memory:", *, remote: bool = False) -> None:
        self.name = name
        self.remote = remote
        self._histories: dict[CollectionId, list[dict[str, bytes]]] = {}
        self._lock = threading.Lock()

    def head(self, collection: CollectionId) -> str | None:
        """Return the number of commits, or None before the first."""
        history = self._histories.get(collection)
        return str(len(history)) if history else None

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file as it was at a revision."""
        data = self._snapshot(collection, revision).get(path)
        if data is None:
            raise NotFound(f"{collection} in {self.name} has no file {path!r}")
        if len(data) > limit:
            raise IntegrityError(f"{path} of {collection} in {self.name} holds more than the {limit:,} bytes expected")
        return data

    def collections(self) -> Iterable[CollectionId]:
        """Return all collections."""
        return tuple(self._histories)

    def commit(
        self,
        collection: CollectionId,
        changes: Mapping[str, bytes],
        *,
        parent: str | None,
        message: str,  # noqa: ARG002  There is nowhere to show it.
    ) -> str:
        """Append a snapshot."""
        with self._lock:
            if self.head(collection) != parent:
                raise CommitConflict(f"{collection} in {self.name} is no longer at revision {parent}")
            history = self._histories.setdefault(collection, [])
            history.append({**(history[-1] if history else {}), **changes})
            return str(len(history))

    def _snapshot(self, collection: CollectionId, revision: str | None) -> dict[str, bytes]:
        history = self._histories.get(collection, [])
        number = revision or str(len(history))
        if not number.isdecimal() or not 1 <= int(number) <= len(history):
            raise NotFound(f"{self.name} has no collection {collection} at revision {number}")
        return history[int(number) - 1]
