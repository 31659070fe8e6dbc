"""Looking after the store of fetched files: what is in it, what may go, whether it is whole."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.hub import seen
from modhub.spec import limits
from modhub.spec.index import Index

if TYPE_CHECKING:
    from modhub.hub.store import Store


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A file of the store.

    Args:
        digest: the SHA-256 of its bytes.
        size: its bytes.
        since: when it came, in seconds since 1970.
        names: the releases that it belongs to, in the collections that were ever read, each with its file name.
    """

    digest: str
    size: int
    since: float
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was deleted: files, and the bytes of all that went, unfinished downloads and leftovers among them."""

    files: int
    size: int


def list_cache(store: Store) -> tuple[Cached, ...]:
    """Return the files of a store, sorted by what they belong to.

    Raises:
        StorageError: the store cannot be read.
    """
    names = _names(store)
    found = [
        Cached(digest=entry.digest, size=entry.size, since=entry.since, names=tuple(names.get(entry.digest, ())))
        for entry in store.entries()
    ]
    return tuple(sorted(found, key=lambda each: (not each.names, each.names, each.digest)))


def prune_cache(store: Store, *, older_than_s: float | None = None) -> Pruned:
    """Delete unfinished downloads, what killed processes left, and files that came longer ago than so many seconds.

    Indexes last seen are kept: they notice a registry that goes back.

    Raises:
        StorageError: the store cannot be written.
    """
    kept = {each.index for each in seen.notes(store)}
    count, size = 0, store.drop_partial()
    store.prune()
    horizon = None if older_than_s is None else time.time() - older_than_s
    for entry in store.entries():
        if horizon is not None and entry.since <= horizon and entry.digest not in kept:
            store.discard(entry.digest)
            count, size = count + 1, size + entry.size
    return Pruned(files=count, size=size)


def verify_cache(store: Store) -> tuple[int, tuple[str, ...]]:
    """Hash every file; return how many there were, and the digests of the damaged ones, which are dropped.

    Raises:
        StorageError: the store cannot be read.
    """
    entries = list(store.entries())
    damaged = tuple(entry.digest for entry in entries if not store.check(entry.digest, size=entry.size))
    return len(entries), damaged


def _names(store: Store) -> dict[str, list[str]]:
    """Return what the collections that were ever read call each file."""
    names: dict[str, list[str]] = {}
    for note in seen.notes(store):
        data = store.get(note.index, limit=limits.INDEX_BYTES)
        if data is None:
            continue
        names.setdefault(note.index, []).append(f"{note.collection} modhub.json")
        try:
            index = Index.from_json(data)
        except FormatError:
            continue
        for release in index.releases:
            for record in (release.manifest, *release.files):
                name = f"{note.collection}/{release.name} {release.version} {record.path}"
                if name not in names.setdefault(record.sha256, []):
                    names[record.sha256].append(name)
    return names
