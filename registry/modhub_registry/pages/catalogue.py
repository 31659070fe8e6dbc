"""Collections as the pages read them: each index is parsed once, however many pages tell of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.index import Index
from modhub.spec.names import CollectionId
from modhub.spec.releases import newest_releases
from modhub_registry.checks.versions import INDEX_FILE
from modhub_registry.errors import EntryNotFound
from modhub_registry.storage import history, repos
from modhub_registry.storage.trees import File, Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modhub.spec.index import Release
    from modhub_registry.routes.asked import Session
    from modhub_registry.storage.repos import Repo

KEPT_RELEASES = 50_000
"""Releases of parsed indexes that stay in memory, some 5 kB each."""

READ_COLLECTIONS = 500
"""Collections that one page looks through, the last changed ones first."""

TAG = "modhub"
"""What the card of every collection is tagged with."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A collection at the newest commit of its main branch."""

    repo: Repo
    commit: str
    root: str
    index: Index

    @property
    def id(self) -> CollectionId:
        """Its name."""
        return CollectionId(self.repo.owner, self.repo.name)

    def newest(self) -> list[Release]:
        """Return the newest release of each package that is not yanked; a pre-release only where nothing else is."""
        return newest_releases(self.index.releases)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Collections that were looked through, and whether there are more."""

    collections: tuple[Collection, ...]
    is_all: bool


class Catalogue:
    """What pages know of collections; holds nothing but parsed indexes, by their digest."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Index] = OrderedDict()
        self._lock = Lock()

    def collection(self, session: Session, repo: Repo) -> Collection | None:
        """Return the collection that a repository is; None where it is none.

        Raises:
            FormatError: its index is of a format that this server does not read.
        """
        trees = session.asked.registry.trees
        commit = history.resolve(session.connection, repo, history.MAIN)
        found = trees.find(session.connection, commit.tree, INDEX_FILE)
        if not isinstance(found, File):
            return None
        index = self._remembered(found.sha256)
        if index is None:
            index = self._remember(found.sha256, Index.from_json(read(session, found, limit=limits.INDEX_BYTES)))
        return Collection(repo=repo, commit=commit.id, root=commit.tree, index=index)

    def collections(self, session: Session, *, tags: Iterable[str] = ()) -> Looked:
        """Return the collections that the caller may read, last changed first; what cannot be read is left out."""
        wanted = repos.Wanted(tags=(TAG, *tags), limit=READ_COLLECTIONS, visible_to=session.identity.owners)
        rows, more = repos.page(session.connection, wanted)
        found = []
        for repo in rows:
            try:
                found.append(self.collection(session, repo))
            except FormatError:
                continue
        return Looked(collections=tuple(each for each in found if each is not None), is_all=not more)

    def _remembered(self, sha256: str) -> Index | None:
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
            return self._kept.get(sha256)

    def _remember(self, sha256: str, index: Index) -> Index:
        with self._lock:
            self._kept[sha256] = index
            while len(self._kept) > 1 and sum(len(each.releases) for each in self._kept.values()) > KEPT_RELEASES:
                self._kept.popitem(last=False)
        return index


def find_release(collection: Collection, name: str, version: str = "") -> Release:
    """Return a release of a package: of this version, or the newest.

    Raises:
        EntryNotFound: there is none.
    """
    releases = collection.index.find(name)
    if not releases:
        raise EntryNotFound(f"{collection.id} has no package {name!r}")
    if not version:
        newest = newest_releases(releases)
        return newest[0] if newest else releases[-1]
    found = collection.index.get(name, version)
    if found is None:
        raise EntryNotFound(f"{collection.id}/{name} has no version {version!r}")
    return found


def release_files(session: Session, collection: Collection, release: Release) -> dict[str, File]:
    """Return the files of a release by name."""
    trees = session.asked.registry.trees
    folder = trees.find(session.connection, collection.root, f"{release.name}/{release.version}")
    listing: Mapping[str, File | Folder] = {}
    if isinstance(folder, Folder):
        listing = trees.folder(session.connection, folder.id)
    return {name: entry for name, entry in listing.items() if isinstance(entry, File)}


def read(session: Session, file: File, *, limit: int) -> bytes:
    """Return the first bytes of a file, at most `limit` of them."""
    return b"".join(session.asked.registry.blobs.read(file.sha256, start=0, length=min(file.size, limit)))
