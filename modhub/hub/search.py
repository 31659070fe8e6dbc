"""Searching the indexes of collections; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.spec.names import slug
from modhub.spec.releases import newest_releases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.errors import ModhubError
    from modhub.spec.index import Index, Release
    from modhub.spec.names import CollectionId


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to look for; an empty query finds every package.

    Args:
        text: words that must all occur in a package's name, classes, summary, method or collection.
        class_name: a class, as its label or package name.
        license: an SPDX expression that must be the package's own.
        max_size: bytes of the smallest form, without dependencies.
        min_f1: a lower bound of the measured F1; where an interval was measured, its low end counts.
        parent: the start of the fingerprint of the network it was cut from.
    """

    text: str = ""
    class_name: str | None = None
    kind: str | None = None
    method: str | None = None
    license: str | None = None
    max_size: int | None = None
    min_f1: float | None = None
    parent: str | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that the card of a collection has where it may hold such a package."""
        capability = f"class:{slug(self.class_name)}" if self.class_name else None
        return tuple(tag for tag in (capability, self.method) if tag)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A package that was found: its newest release that fits the query."""

    registry: str
    collection: CollectionId
    release: Release

    @property
    def name(self) -> str:
        """The full name of the package."""
        return str(self.collection.package(self.release.name))


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What was found, best first, and the collections that could not be read, each with its error."""

    hits: tuple[Hit, ...]
    skipped: Mapping[str, ModhubError]


def matching_releases(index: Index, query: Query, *, collection: CollectionId) -> list[Release]:
    """Return the newest fitting release of each package, none of them yanked."""
    return newest_releases(release for release in index.releases if is_match(release, query, collection=collection))


def is_match(release: Release, query: Query, *, collection: CollectionId) -> bool:
    """Tell whether a release fits a query."""
    return (
        (query.kind is None or release.kind == query.kind)
        and (query.method is None or release.method == query.method)
        and (query.license is None or release.license == query.license)
        and (query.parent is None or (release.parent or "").startswith(query.parent))
        and (query.class_name is None or f"class:{slug(query.class_name)}" in release.provides)
        and (query.max_size is None or release.size <= query.max_size)
        and (query.min_f1 is None or (release.lower_bound("f1") or 0.0) >= query.min_f1)
        and has_words(release, query.text, collection=collection)
    )


def has_words(release: Release, text: str, *, collection: CollectionId) -> bool:
    """Tell whether every word occurs somewhere in what a release says about itself."""
    said = [str(collection), release.name, release.summary, release.method or "", *release.classes, *release.provides]
    haystack = "\n".join(said).casefold()
    return all(word in haystack for word in text.casefold().split())


def rank(hit: Hit, query: Query) -> tuple[int, float, str, str]:
    """Return a sort key: named so first, then scoring such a class, then by F1, then by name."""
    words = query.text.casefold().split()
    named = hit.release.name in words
    scoring = any(label.casefold() in words for label in hit.release.classes)
    closeness = 0 if named else 1 if scoring else 2
    return closeness, -(hit.release.lower_bound("f1") or 0.0), hit.name, hit.registry
