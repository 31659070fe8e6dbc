"""`Client`: reading, publishing, marking, searching and fetching, over any backend.

A backend is not trusted. An index must be valid and follow the one last seen; a file must have the size and digest
that its lock promises before anybody sees it. A name is looked up in the registry it was asked from, in no other.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modhub.errors import (
    CommitConflict,
    FormatError,
    HubError,
    IntegrityError,
    ModhubError,
    NotFound,
    StorageError,
    UsageError,
)
from modhub.hub import seen
from modhub.hub.backend import INDEX_FILE
from modhub.hub.download import Downloader
from modhub.hub.publication import Publication, check_packages, commit_changes, plan_publication
from modhub.hub.search import Hit, SearchResult, matching_releases, rank
from modhub.hub.transfer import Meter
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from modhub.fsops import Content
    from modhub.hub.backend import Backend
    from modhub.hub.download import Wanted
    from modhub.hub.search import Query
    from modhub.hub.store import Store
    from modhub.hub.transfer import Progress
    from modhub.package.package import Package
    from modhub.spec.index import Release
    from modhub.spec.lock import Lock, LockedModule
    from modhub.spec.names import CollectionId, PackageId

__all__ = ["Client", "PublishResult", "SearchResult", "Snapshot"]

ATTEMPTS = 60
"""Whoever loses a race lost it to a commit that went through, so this many others may publish at once."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A collection as it was read: its revision (None before its first), its index, the digest of that one's bytes."""

    registry: str
    collection: CollectionId
    revision: str | None
    index: Index
    digest: str


@dataclass(frozen=True, kw_only=True)
class PublishResult:
    """What a publish did, or would do.

    Args:
        revision: the collection's revision that holds the releases; after a dry run the one that was read.
        size: bytes of the new releases.
    """

    registry: str
    collection: CollectionId
    revision: str | None
    published: tuple[Release, ...]
    unchanged: tuple[Release, ...]
    size: int
    dry_run: bool

    @property
    def already(self) -> bool:
        """Whether everything was published before, with the same bytes."""
        return not self.published


class Client:
    """The collections of some registries, through one store.

    Args:
        registries: backends by the name that people use for them; the first is the default.
        store: where every file is kept that was ever fetched.
        offline: read remote registries from the store only.
    """

    def __init__(self, registries: Mapping[str, Backend], *, store: Store, offline: bool = False) -> None:
        self.registries = dict(registries)
        self.store = store
        self.offline = offline
        self._parsed: dict[tuple[str, CollectionId], Snapshot] = {}

    def backend(self, registry: str | None = None) -> Backend:
        """Return the backend of a registry, called as people or as locks call it; None is the default.

        Raises:
            NotFound: there is none of this name.
        """
        if registry is None and self.registries:
            return next(iter(self.registries.values()))
        for name, backend in self.registries.items():
            if registry in (name, backend.name):
                return backend
        known = ", ".join(self.registries) or "none"
        raise NotFound(f"there is no registry {registry!r} here; known are {known}")

    def collections(self, *, registry: str | None = None, tags: Iterable[str] = ()) -> list[CollectionId]:
        """Return the collections of a registry, sorted; offline, those whose index was ever read.

        Where the registry can tell, those without one of the tags are left out; see `Backend.collections`.

        Raises:
            HubError: the registry cannot be read.
        """
        backend = self.backend(registry)
        if self._is_cut_off(backend):
            return seen.collections(self.store, backend.place)
        return sorted(set(backend.collections(tags=tags)))

    def snapshot(self, collection: CollectionId, *, registry: str | None = None) -> Snapshot:
        """Return a collection as it is now; offline, as it was last seen.

        Raises:
            NotFound: there is no such collection.
            FormatError: its index is broken.
            IntegrityError: its history is not the one seen before.
            HubError: the registry cannot be read.
        """
        backend = self.backend(registry)
        known = seen.recall(self.store, backend.place, collection=collection)
        if self._is_cut_off(backend):
            if known is None:
                raise NotFound(f"{collection} was never read from {backend.name}, and this is offline")
            return self._snapshot(backend, collection, *known)
        head = backend.head(collection)
        if head is None:
            raise NotFound(f"{backend.name} has no collection {collection}")
        if known is not None and known[0] == head:
            return self._snapshot(backend, collection, *known)
        older = None if known is None or not backend.append_only else self._snapshot(backend, collection, *known)
        data = backend.read(collection, INDEX_FILE, revision=head, limit=limits.INDEX_BYTES)
        now = self._snapshot(backend, collection, head, data)
        if older is not None:
            _check_history(now, older=older)
        self._remember(backend, collection, head, data)
        return now

    def last_seen(self, collection: CollectionId, *, registry: str | None = None) -> Snapshot | None:
        """Return a collection as it was last read, without asking its registry; None where it never was.

        Raises:
            NotFound: there is no such registry.
            FormatError: the index that was kept is broken.
        """
        backend = self.backend(registry)
        known = seen.recall(self.store, backend.place, collection=collection)
        return None if known is None else self._snapshot(backend, collection, *known)

    def index(self, collection: CollectionId, *, registry: str | None = None) -> Index:
        """Return the index of a collection; see `snapshot`."""
        return self.snapshot(collection, registry=registry).index

    def release(self, package: PackageId, *, version: str, registry: str | None = None) -> Release:
        """Return one release.

        Raises:
            NotFound: there is no such release.
        """
        release = self.index(package.collection, registry=registry).get(package.name, version)
        if release is None:
            raise NotFound(f"{self.backend(registry).name} has no release {package} {version}")
        return release

    def forget(self, collection: CollectionId, *, registry: str | None = None) -> None:
        """Trust whatever a registry shows next for a collection, for one that was deleted and made anew.

        Raises:
            StorageError: the store cannot be written.
        """
        seen.forget(self.store, self.backend(registry).place, collection=collection)

    def publish(
        self,
        collection: CollectionId,
        packages: Iterable[Package],
        *,
        message: str = "",
        dry_run: bool = False,
        registry: str | None = None,
        signatures: Mapping[str, str] | None = None,
    ) -> PublishResult:
        """Publish packages as one atomic commit; those that are there with the same bytes already are left alone.

        Signatures are given by the digests of the manifests that they sign.

        Raises:
            InvalidPackage: a package contradicts its manifest, or lacks its base.
            VersionTaken: a version is there with other content.
            CommitConflict: others publish faster, again and again.
            HubError: the registry cannot be read or written.
        """
        backend, packages = self.backend(registry), tuple(packages)
        check_packages(packages)

        def plan(before: Snapshot) -> Publication:
            return plan_publication(packages, index=before.index, digest=before.digest, signatures=signatures)

        message = (
            message or f"Publish {', '.join(f'{each.manifest.name} {each.manifest.version}' for each in packages)}"
        )
        planned, revision = self._commit(backend, collection, plan=plan, message=message, dry_run=dry_run)
        return PublishResult(
            registry=backend.name,
            collection=collection,
            revision=revision,
            published=planned.published,
            unchanged=planned.unchanged,
            size=planned.size,
            dry_run=dry_run,
        )

    def yank(self, package: PackageId, *, version: str, reason: str, registry: str | None = None) -> None:
        """Mark a release as one that nobody should choose any more; existing locks still install it.

        Raises:
            NotFound: there is no such release.
            UsageError: the reason is empty.
            HubError: the registry cannot be read or written.
        """
        self._mark(package, version, Index.yanking, reason=_reason(reason), registry=registry)

    def unyank(self, package: PackageId, *, version: str, registry: str | None = None) -> None:
        """Take a yank back.

        Raises:
            NotFound: there is no such release.
            HubError: the registry cannot be read or written.
        """
        self._mark(package, version, Index.yanking, reason=None, registry=registry)

    def deprecate(self, package: PackageId, *, version: str, reason: str | None, registry: str | None = None) -> None:
        """Say what to use instead of a release, which may still be chosen; a reason of None takes that back.

        Raises:
            NotFound: there is no such release.
            UsageError: the reason is empty.
            HubError: the registry cannot be read or written.
        """
        reason = None if reason is None else _reason(reason)
        self._mark(package, version, Index.deprecating, reason=reason, registry=registry)

    def search(self, query: Query, *, registry: str | None = None) -> SearchResult:
        """Return the packages that fit a query, of one registry or of all.

        A collection that cannot be read is skipped and reported.

        Raises:
            HubError: a registry cannot be read at all.
        """
        hits: list[Hit] = []
        skipped: dict[str, ModhubError] = {}
        for name in [registry] if registry else self.registries:
            for collection in self.collections(registry=name, tags=query.tags):
                try:
                    now = self.snapshot(collection, registry=name)
                except (HubError, FormatError, IntegrityError) as error:
                    skipped[f"{self.backend(name).name} {collection}"] = error
                    continue
                found = matching_releases(now.index, query, collection=collection)
                hits += [Hit(registry=now.registry, collection=collection, release=release) for release in found]
        return SearchResult(hits=tuple(sorted(hits, key=lambda hit: rank(hit, query))), skipped=skipped)

    def fetch(self, lock: Lock, *, progress: Progress | None = None) -> dict[str, dict[str, Content]]:
        """Return the files of every locked release by its full name, `module.json` among them; large ones in the store.

        Files are taken from the store, and from the registry that the lock names where the store lacks them, several
        at once; `progress` is told.

        Raises:
            IntegrityError: a file is not the one that the lock promises.
            NotFound: a file is gone, or is not in the store and this is offline.
            HubError: a registry cannot be read.
        """
        found = self._downloader(progress).fetch(lock.modules)
        return {module.name: files for module, files in zip(lock.modules, found, strict=True)}

    def fetch_module(self, module: LockedModule) -> dict[str, Content]:
        """Return the files of one locked release; see `fetch`."""
        return self._downloader().fetch([module])[0]

    def keep(self, wanted: Sequence[Wanted], *, progress: Progress | None = None) -> None:
        """Bring files into the store, however large they are; raises as `fetch`."""
        self._downloader(progress).keep(wanted)

    def _downloader(self, progress: Progress | None = None) -> Downloader:
        return Downloader(self.store, self._connect, Meter(progress))

    def _connect(self, module: LockedModule) -> Backend | None:
        backend = self._locked_backend(module.registry)
        return None if self._is_cut_off(backend) else backend

    def _locked_backend(self, name: str) -> Backend:
        """Return the registry that a lock names; what people here call a registry means nothing in a lock."""
        for backend in self.registries.values():
            if backend.name == name:
                return backend
        known = ", ".join(sorted(backend.name for backend in self.registries.values()))
        raise NotFound(f"the lock names the registry {name!r}, which is none of those in use: {known or 'none'}")

    def _commit(
        self,
        backend: Backend,
        collection: CollectionId,
        *,
        plan: Callable[[Snapshot], Publication],
        message: str,
        dry_run: bool = False,
    ) -> tuple[Publication, str | None]:
        """Commit what `plan` makes of the collection, and plan anew when somebody else was faster."""
        if self._is_cut_off(backend):
            raise HubError(f"{backend.name} cannot be written offline")
        for pause_s in _pauses():
            before = self._snapshot_or_new(backend, collection)
            planned = plan(before)
            if dry_run or planned.index is before.index:
                return planned, before.revision
            changes = commit_changes(planned.index, planned.files, collection=collection)
            try:
                revision = backend.commit(collection, changes, parent=before.revision, message=message)
            except CommitConflict:
                time.sleep(pause_s)
                continue
            self._remember(backend, collection, revision, planned.index.to_json())
            return planned, revision
        raise CommitConflict(f"{collection} changed during each of {ATTEMPTS} attempts to publish")

    def _mark(
        self,
        package: PackageId,
        version: str,
        change: Callable[..., Index],
        *,
        reason: str | None,
        registry: str | None,
    ) -> None:
        """Commit an index with one release marked."""

        def plan(before: Snapshot) -> Publication:
            after = change(before.index, package.name, version, reason=reason, previous=before.digest)
            return Publication(index=after, files={})

        message = f"Mark {package.name} {version}: {reason or 'nothing any more'}"
        self._commit(self.backend(registry), package.collection, plan=plan, message=message)

    def _snapshot_or_new(self, backend: Backend, collection: CollectionId) -> Snapshot:
        try:
            return self.snapshot(collection, registry=backend.name)
        except NotFound:
            return self._snapshot(backend, collection, None, Index().to_json())

    def _snapshot(self, backend: Backend, collection: CollectionId, revision: str | None, data: bytes) -> Snapshot:
        """Return what an index says; one that was parsed before is not parsed again."""
        digest, place = sha256(data), (backend.name, collection)
        known = self._parsed.get(place)
        if known is not None and known.digest == digest:
            return replace(known, revision=revision)
        try:
            index = Index.from_json(data)
        except FormatError as error:
            raise error.in_file(f"{backend.name} {collection} {INDEX_FILE}") from error
        self._parsed[place] = Snapshot(
            registry=backend.name, collection=collection, revision=revision, index=index, digest=digest
        )
        return self._parsed[place]

    def _remember(self, backend: Backend, collection: CollectionId, revision: str, data: bytes) -> None:
        # Reading works on a read-only store; it only notices less.
        with suppress(StorageError):
            seen.remember(self.store, backend.place, collection=collection, revision=revision, index=data)

    def _is_cut_off(self, backend: Backend) -> bool:
        return self.offline and backend.remote


def _check_history(now: Snapshot, *, older: Snapshot) -> None:
    """Check that a collection only grew since it was last seen.

    Raises:
        IntegrityError: it did not.
    """
    try:
        now.index.check_follows(older.index)
    except FormatError as error:
        problem = f"the history of {now.collection} in {now.registry} is not the one seen before"
        raise IntegrityError(f"{problem}: {error}") from error
    if now.index.revision == older.index.revision + 1 and now.index.previous != older.digest:
        problem = f"revision {now.index.revision} of {now.collection} in {now.registry}"
        raise IntegrityError(f"{problem} does not continue the revision seen before")


def _reason(text: str) -> str:
    if not text.strip():
        raise UsageError("a reason is needed, for the people who use the release")
    return text


def _pauses() -> Iterator[float]:
    """Yield a waiting time in seconds per attempt, growing and random, so that losers do not meet again."""
    for attempt in range(ATTEMPTS):
        yield random.uniform(0, min(0.02 * (attempt + 1), 0.5))  # noqa: S311  No secret.
