"""A registry in memory: for tests, and for trying things out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from modhub.errors import CommitConflict, IntegrityError, NotFound
from modhub.fsops import chunks_of
from modhub.hub.backend import INDEX_FILE
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modhub.fsops import Content
    from modhub.spec.names import CollectionId


class MemoryBackend:
    """Collections as dictionaries; every revision is kept.

    Args:
        remote: behave like a registry that offline work does without.
        append_only: behave like one that outlives the process, whose history is compared with the one seen before.
    """

    def __init__(self, name: str = "memory:", *, remote: bool = False, append_only: bool = False) -> None:
        self.name = name
        self.remote = remote
        self.append_only = append_only
        self._histories: dict[CollectionId, list[dict[str, bytes]]] = {}
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """Its name."""
        return self.name

    def head(self, collection: CollectionId) -> str | None:
        """Return number and digest of the newest index, or None before the first commit."""
        history = self._histories.get(collection)
        return _revision(history, len(history)) if history else None

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file as it was at a revision.

        Raises:
            NotFound: there is no such collection, revision or file.
            IntegrityError: the file is larger than `limit`.
        """
        data = self._snapshot(collection, revision).get(path)
        if data is None:
            raise NotFound(f"{collection} in {self.name} has no file {path!r}")
        if len(data) > limit:
            raise IntegrityError(f"{path} of {collection} in {self.name} holds more than the {limit:,} bytes expected")
        return data

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file as it was at a revision; see `read`."""
        data = self.read(collection, path, revision=revision, limit=limit)
        if start > len(data):
            raise IntegrityError(f"{path} of {collection} in {self.name} ends before byte {start:,}")
        yield data[start:]

    def collections(self, *, tags: Iterable[str] = ()) -> Iterable[CollectionId]:  # noqa: ARG002  All may have them.
        """Return all collections."""
        return tuple(self._histories)

    def commit(
        self,
        collection: CollectionId,
        changes: Mapping[str, Content],
        *,
        parent: str | None,
        message: str,  # noqa: ARG002  There is nowhere to show it.
    ) -> str:
        """Append a snapshot.

        Raises:
            CommitConflict: the collection is no longer at `parent`.
            IntegrityError: a local file was changed meanwhile.
        """
        held = {path: b"".join(chunks_of(content)) for path, content in changes.items()}
        with self._lock:
            if self.head(collection) != parent:
                raise CommitConflict(f"{collection} in {self.name} is no longer at revision {parent}")
            history = self._histories.setdefault(collection, [])
            history.append({**(history[-1] if history else {}), **held})
            return _revision(history, len(history))

    def _snapshot(self, collection: CollectionId, revision: str | None) -> dict[str, bytes]:
        history = self._histories.get(collection, [])
        for number in range(len(history), 0, -1):
            if revision in (None, _revision(history, number)):
                return history[number - 1]
        raise NotFound(f"{self.name} has no collection {collection} at revision {revision or 1}")


def _revision(history: list[dict[str, bytes]], number: int) -> str:
    """Return a revision that no other history shares: what was seen of one is remembered under it."""
    return f"{number}-{sha256(history[number - 1][INDEX_FILE])}"
