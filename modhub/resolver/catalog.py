"""What the resolver may choose from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from modhub.spec.index import Index, Release
    from modhub.spec.names import CollectionId, PackageId
    from modhub.spec.provenance import Dependency


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A release that may be chosen, and the registry and revision it was seen in."""

    package: PackageId
    release: Release
    registry: str
    revision: str | None = None

    @cached_property
    def number(self) -> Version:
        """The version as a value that compares."""
        return self.release.number

    @property
    def trunk(self) -> str:
        """What modules share that come of one parent: its fingerprint, or their own digest where they have none."""
        return self.release.parent or self.release.manifest.sha256

    @property
    def needs(self) -> tuple[Dependency, ...]:
        """What has to be chosen with it.

        Only a delta needs other packages. What is whole runs alone; the dependencies of a composite say which modules
        it was made of.
        """
        return self.release.dependencies if "delta" in self.release.forms else ()

    def __str__(self) -> str:
        """Return the full name and the version."""
        return f"{self.package} {self.release.version}"


class Catalog(Protocol):
    """Answers what exists. Both answers must stay the same during one call of `solve`."""

    def releases(self, package: PackageId, *, origin: str | None = None) -> Iterable[Candidate]:
        """Return every release of a package, of one registry; nothing where there is no such package.

        Without an origin that is the first registry that has the package's collection; otherwise the one named.
        """
        ...

    def providers(self, capability: str, *, origin: str | None = None) -> Iterable[PackageId]:
        """Return the packages with a release that provides a capability, such as ``class:cat``.

        Without an origin those of all registries that are looked through; otherwise of the one named.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The index of one collection, and the registry and revision it was read from."""

    collection: CollectionId
    index: Index
    registry: str
    revision: str | None = None


class IndexCatalog:
    """The catalog of some indexes that were read before.

    The first listing of a collection counts, unless an origin names the registry of another.
    """

    def __init__(self, listings: Iterable[Listing]) -> None:
        self._listings: dict[str | None, dict[CollectionId, Listing]] = {None: {}}
        for listing in listings:
            self._listings[None].setdefault(listing.collection, listing)
            self._listings.setdefault(listing.registry, {}).setdefault(listing.collection, listing)

    def releases(self, package: PackageId, *, origin: str | None = None) -> tuple[Candidate, ...]:
        """Return every release of a package."""
        listing = self._listings.get(origin, {}).get(package.collection)
        if listing is None:
            return ()
        return tuple(
            Candidate(package=package, release=release, registry=listing.registry, revision=listing.revision)
            for release in listing.index.find(package.name)
        )

    def providers(self, capability: str, *, origin: str | None = None) -> tuple[PackageId, ...]:
        """Return the packages with a release that provides a capability, sorted."""
        found = {
            listing.collection.package(release.name)
            for listing in self._listings.get(origin, {}).values()
            for release in listing.index.releases
            if capability in release.provides
        }
        return tuple(sorted(found))
