"""What some registries hold, as the resolver asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import FormatError, HubError, IntegrityError, NotFound
from modhub.resolver.catalog import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modhub.errors import ModhubError
    from modhub.hub.client import Client, Snapshot
    from modhub.spec.names import CollectionId, PackageId


class RegistryCatalog:
    """The collections of a client's registries; each index is read when it is first needed, and once.

    Where several registries have a collection of one name, the first of them counts and the others are never looked at,
    so that nobody can slip in a newer version elsewhere. A registry that a requirement names as its origin is looked at
    for that requirement alone.

    Args:
        client: the registries, those of origins among them.
        searched: the registries to look through where a requirement names none; by default all of them.
        origins: what requirements call a registry, and what the client calls it.

    `skipped` holds the collections that could not be read when all of them were looked through.
    """

    def __init__(
        self, client: Client, *, searched: Iterable[str] | None = None, origins: Mapping[str, str] | None = None
    ) -> None:
        self.client = client
        self.searched = tuple(client.registries if searched is None else searched)
        self.origins = dict(origins or {})
        self.skipped: dict[CollectionId, ModhubError] = {}
        self._snapshots: dict[tuple[CollectionId, str | None], Snapshot | None] = {}

    def registries(self, origin: str | None = None) -> tuple[str, ...]:
        """Return the registries to look through, in their order; for an origin, the one that it names."""
        if origin is not None:
            return (self.origins.get(origin, origin),)
        return self.searched

    def snapshot(self, collection: CollectionId, *, origin: str | None = None) -> Snapshot | None:
        """Return a collection as it is in the first registry that has it, or in the one of an origin; or None.

        Raises:
            FormatError: its index is broken.
            IntegrityError: its history is not the one seen before.
            HubError: the registry cannot be read.
        """
        if (collection, origin) not in self._snapshots:
            self._snapshots[collection, origin] = self._read(collection, origin=origin)
        return self._snapshots[collection, origin]

    def _read(self, collection: CollectionId, *, origin: str | None) -> Snapshot | None:
        for registry in self.registries(origin):
            try:
                return self.client.snapshot(collection, registry=registry)
            except NotFound:
                continue
        return None

    def everything(self, *, tags: Iterable[str] = (), origin: str | None = None) -> Iterator[Snapshot]:
        """Yield every collection that can be read, or every one of an origin; the others are noted in `skipped`.

        With tags, such as ``class:cat``, a large registry may leave those out whose card lacks one of them.

        Raises:
            HubError: a registry cannot be read at all.
        """
        names = self.registries(origin)
        found = [each for name in names for each in self.client.collections(registry=name, tags=tags)]
        for collection in dict.fromkeys(found):
            try:
                snapshot = self.snapshot(collection, origin=origin)
            except (FormatError, HubError, IntegrityError) as error:
                self.skipped[collection] = error
                continue
            if snapshot is not None:
                yield snapshot

    def releases(self, package: PackageId, *, origin: str | None = None) -> tuple[Candidate, ...]:
        """Return every release of a package; nothing where there is no such package."""
        snapshot = self.snapshot(package.collection, origin=origin)
        if snapshot is None:
            return ()
        return tuple(
            Candidate(package=package, release=release, registry=snapshot.registry, revision=snapshot.revision)
            for release in snapshot.index.find(package.name)
        )

    def providers(self, capability: str, *, origin: str | None = None) -> tuple[PackageId, ...]:
        """Return the packages of all registries, or of an origin, that provide a capability such as ``class:cat``."""
        found = {
            snapshot.collection.package(release.name)
            for snapshot in self.everything(tags=(capability,), origin=origin)
            for release in snapshot.index.releases
            if capability in release.provides
        }
        return tuple(sorted(found))

    def dependents(self, package: PackageId) -> tuple[str, ...]:
        """Return the full names of the packages with a release that depends on a package, sorted."""
        found = {
            str(snapshot.collection.package(release.name))
            for snapshot in self.everything()
            for release in snapshot.index.releases
            for need in release.dependencies
            if need.package_in(snapshot.collection) == package
        }
        return tuple(sorted(found))
