"""What some registries hold, as the resolver asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import FormatError, HubError, IntegrityError, NotFound
from modhub.resolver.catalog import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.errors import ModhubError
    from modhub.hub.client import Client, Snapshot
    from modhub.spec.names import CollectionId, PackageId


class RegistryCatalog:
    """The collections of a client's registries; each index is read when it is first needed, and once.

    Where several registries have a collection of one name, the first of them counts and the others are never looked at,
    so that nobody can slip in a newer version elsewhere.

    `skipped` holds the collections that could not be read when all of them were looked through.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.skipped: dict[CollectionId, ModhubError] = {}
        self._snapshots: dict[CollectionId, Snapshot | None] = {}

    def snapshot(self, collection: CollectionId) -> Snapshot | None:
        """Return a collection as it is in the first registry that has it, or None.

        Raises:
            FormatError: its index is broken.
            IntegrityError: its history is not the one seen before.
            HubError: the registry cannot be read.
        """
        if collection not in self._snapshots:
            self._snapshots[collection] = self._read(collection)
        return self._snapshots[collection]

    def _read(self, collection: CollectionId) -> Snapshot | None:
        for registry in self.client.registries:
            try:
                return self.client.snapshot(collection, registry=registry)
            except NotFound:
                continue
        return None

    def everything(self) -> Iterator[Snapshot]:
        """Yield every collection that can be read; the others are noted in `skipped`.

        Raises:
            HubError: a registry cannot be read at all.
        """
        found = [each for name in self.client.registries for each in self.client.collections(registry=name)]
        for collection in dict.fromkeys(found):
            try:
                snapshot = self.snapshot(collection)
            except (FormatError, HubError, IntegrityError) as error:
                self.skipped[collection] = error
                continue
            if snapshot is not None:
                yield snapshot

    def releases(self, package: PackageId) -> tuple[Candidate, ...]:
        """Return every release of a package; nothing where there is no such package."""
        snapshot = self.snapshot(package.collection)
        if snapshot is None:
            return ()
        return tuple(
            Candidate(package=package, release=release, registry=snapshot.registry, revision=snapshot.revision)
            for release in snapshot.index.find(package.name)
        )

    def providers(self, capability: str) -> tuple[PackageId, ...]:
        """Return the packages of all registries that provide a capability such as ``class:cat``."""
        found = {
            snapshot.collection.package(release.name)
            for snapshot in self.everything()
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
