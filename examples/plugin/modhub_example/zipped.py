"""A registry in a ZIP file of collection folders, ``zip:/path/to/modules.zip``: to read, not to publish to.

It shows what a backend has to do: return bytes, and nothing more. What the bytes have to be is checked by modhub, by
size and digest, so a damaged archive is noticed without a line about it here.
"""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modhub.errors import AccessDenied, FormatError, HubError, IntegrityError, NotFound, UsageError
from modhub.hub.backend import INDEX_FILE
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.names import CollectionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modhub.fsops import Content

PIECE = 1 << 20


class ZipBackend:
    """The collections of a ZIP file, which lie in it as ``OWNER/NAME/modhub.json`` and so on.

    Raises:
        UsageError: the address has no path.
    """

    remote = False
    append_only = False

    def __init__(self, address: str) -> None:
        path = address.partition(":")[2]
        if not path:
            raise UsageError(f"{address!r} names no file; expected zip:/path/to/modules.zip")
        self.path = Path(path).resolve()
        self.name = f"zip:{self.path}"

    @property
    def place(self) -> str:
        """Its name: there is one copy of it."""
        return self.name

    def head(self, collection: CollectionId) -> str | None:
        """Return the digest of the index as the revision, or None where there is no such collection."""
        try:
            return sha256(self.read(collection, INDEX_FILE, revision=None, limit=limits.INDEX_BYTES))
        except NotFound:
            return None

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file.

        Raises:
            NotFound: there is none.
            IntegrityError: it is larger than `limit`.
            HubError: the archive cannot be read.
        """
        return b"".join(self.stream(collection, path, revision=revision, limit=limit))

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file from a position on; errors are those of `read`."""
        if revision is not None and revision != self.head(collection):
            raise NotFound(f"{self.name} has no collection {collection} at revision {revision}")
        with self._opened() as archive:
            try:
                entry = archive.getinfo(f"{collection}/{path}")
            except KeyError:
                raise NotFound(f"{self.name} holds no {collection}/{path}") from None
            if not start <= entry.file_size <= limit:
                raise IntegrityError(f"{path} in {self.name} holds {entry.file_size:,} bytes, expected {limit:,}")
            with archive.open(entry) as file:
                file.seek(start)
                while piece := file.read(PIECE):
                    yield piece

    def collections(self, *, tags: Iterable[str] = ()) -> Iterable[CollectionId]:  # noqa: ARG002  All may have them.
        """Return the collections that have an index.

        Raises:
            FormatError: a folder has a name that no collection can have.
        """
        with self._opened() as archive:
            indexes = [Path(name) for name in archive.namelist() if Path(name).name == INDEX_FILE]
        return [CollectionId.parse(index.parent.as_posix()) for index in indexes]

    def commit(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        """Refuse.

        Raises:
            AccessDenied: always.
        """
        del changes, parent, message
        raise AccessDenied(f"{self.name} can only be read: publish {collection} to a folder, and zip that")

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {self.path}") from error
        except zipfile.BadZipFile as error:
            raise FormatError(f"is no ZIP file, or a damaged one: {error}", file=str(self.path)) from error
        except OSError as error:
            raise HubError(f"cannot read {self.path}: {error}") from error
