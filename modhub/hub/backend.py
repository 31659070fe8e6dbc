"""The seam between modhub and a place that keeps collections.

A backend moves bytes and knows no rule: what a publish may change is decided by the client, what bytes are right is
decided by digests. Its one duty is that a commit is atomic and that of two commits on one parent only one succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modhub.fsops import Content
    from modhub.spec.names import CollectionId

INDEX_FILE = "modhub.json"
CARD_FILE = "README.md"


class Backend(Protocol):
    """A registry: collections of files, each with a current revision.

    Revisions are opaque texts.
    """

    @property
    def name(self) -> str:
        """How locks and messages name this registry, such as ``file:///srv/modules`` or ``hf://``."""
        ...

    @property
    def place(self) -> str:
        """Where it is: what was seen of it is remembered under this, as one name may lead to several mirrors."""
        ...

    @property
    def remote(self) -> bool:
        """Whether reading takes a network, so that offline work must do without."""
        ...

    @property
    def append_only(self) -> bool:
        """Whether its collections only grow; not so where they are replaced as a whole, with modhub itself."""
        ...

    def head(self, collection: CollectionId) -> str | None:
        """Return the current revision of a collection, or None where there is no such collection.

        Raises:
            HubError: the registry cannot be read.
        """
        ...

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file of a collection, at most `limit` bytes; `revision` None means the current one.

        The bytes are not to be trusted. Files of a release are the same at every revision that has them.

        Raises:
            NotFound: there is no such collection, revision or file.
            IntegrityError: the file is larger than `limit`.
            HubError: the registry cannot be read.
        """
        ...

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file of a collection from a position on, in pieces; otherwise as `read`.

        Raises:
            NotFound: there is no such collection, revision or file.
            IntegrityError: the file is larger than `limit`, or ends before `start`.
            HubError: the registry cannot be read.
        """
        ...

    def collections(self, *, tags: Iterable[str] = ()) -> Iterable[CollectionId]:
        """Yield the collections that can be found here, in any order.

        With tags, such as ``class:cat``, those may be left out whose card lacks one of them.

        Raises:
            HubError: the registry cannot be read.
        """
        ...

    def commit(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        """Write files and the new index as one step, and return the new revision.

        `changes` maps paths to contents and always holds the index, `INDEX_FILE`. `parent` is the revision that the
        new index was made from, None for a new collection. Readers see all changes or none.

        Raises:
            CommitConflict: the collection is no longer at `parent`; nothing was written.
            IntegrityError: a local file was changed meanwhile; nothing was written.
            AccessDenied: the registry lets nobody write, or not us.
            HubError: the registry cannot be written.
        """
        ...
