"""Finding modules among collections: what a person asks for, what fits, and what else could be asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import InvalidName
from modhub.spec.names import slug
from modhub.spec.releases import newest_releases
from modhub_registry.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.spec.index import Release
    from modhub_registry.pages.catalogue import Collection
    from modhub_registry.routes.asked import Asked

TEXT_LENGTH = 200
"""Characters of a field of the form."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the form asks for; an empty field asks for nothing.

    Args:
        q: words that must all occur in a module's name, classes, summary, method or collection.
        class_name: a class, as its label or package name.
        parent: the fingerprint of the network that modules were cut from.
        max_size: bytes of the smallest form, without what it needs.
        min_f1: the low end of the interval of the measured F1 counts.
    """

    q: str = ""
    class_name: str = ""
    method: str = ""
    license: str = ""
    parent: str = ""
    max_size: int = 0
    min_f1: float = 0.0

    @classmethod
    def of(cls, asked: Asked) -> Question:
        """Return the question that an address holds.

        Raises:
            Malformed: a number is none.
        """
        return cls(
            q=asked.query("q")[:TEXT_LENGTH].strip(),
            class_name=asked.query("class")[:TEXT_LENGTH].strip(),
            method=asked.query("method")[:TEXT_LENGTH],
            license=asked.query("license")[:TEXT_LENGTH],
            parent=asked.query("parent")[:TEXT_LENGTH],
            max_size=asked.number("max_size", 0) if asked.query("max_size") else 0,
            min_f1=_share(asked.query("min_f1")),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing."""
        return self == Question()

    @property
    def capability(self) -> str:
        """The class as packages are named; empty where it has no such name."""
        try:
            return slug(self.class_name)
        except InvalidName:
            return ""

    def fits(self, release: Release, collection: Collection, *, without: str = "") -> bool:
        """Tell whether a release is asked for; `without` leaves one field of the question out."""
        tests = {
            "class": not self.class_name or self._scores(release),
            "method": not self.method or release.method == self.method,
            "license": not self.license or release.license == self.license,
            "parent": not self.parent or release.parent == self.parent,
            "max_size": not self.max_size or release.size <= self.max_size,
            "min_f1": not self.min_f1 or (release.lower_bound("f1") or 0.0) >= self.min_f1,
        }
        return all(good for name, good in tests.items() if name != without) and has_words(release, collection, self.q)

    def _scores(self, release: Release) -> bool:
        label = self.class_name.casefold()
        return f"class:{self.capability}" in release.provides or any(label == x.casefold() for x in release.classes)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A module that was found."""

    collection: Collection
    release: Release


@dataclass(frozen=True, kw_only=True)
class Facets:
    """How many modules there would be with another class, method, licence or parent.

    Args:
        parents: fingerprint, name and number of modules of each network that modules were cut from.
    """

    classes: Sequence[tuple[str, int]]
    methods: Sequence[tuple[str, int]]
    licenses: Sequence[tuple[str, int]]
    parents: Sequence[tuple[str, str, int]]


def find(collections: Sequence[Collection], question: Question) -> list[Hit]:
    """Return the newest fitting release of each module or composite, best first."""
    hits = [
        Hit(collection=collection, release=release)
        for collection in collections
        for release in newest_releases(each for each in _scoring(collection) if question.fits(each, collection))
    ]
    return sorted(hits, key=lambda hit: _rank(hit, question))


def facets_of(collections: Sequence[Collection], question: Question) -> Facets:
    """Return what else could be asked for, most frequent first."""
    classes: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    parents: Counter[str] = Counter()
    names: dict[str, str] = {}
    for collection in collections:
        for release in newest_releases(_scoring(collection)):
            if question.fits(release, collection, without="class"):
                classes.update(release.classes)
            if release.method and question.fits(release, collection, without="method"):
                methods[release.method] += 1
            if question.fits(release, collection, without="license"):
                licenses[release.license] += 1
            if release.parent and question.fits(release, collection, without="parent"):
                parents[release.parent] += 1
                names.setdefault(release.parent, f"{collection.repo.name} {release.parent[:8]}")
    return Facets(
        classes=_sorted(classes),
        methods=_sorted(methods),
        licenses=_sorted(licenses),
        parents=[(parent, names[parent], number) for parent, number in _sorted(parents)],
    )


def has_words(release: Release, collection: Collection, text: str) -> bool:
    """Tell whether every word occurs somewhere in what a release says about itself."""
    said = [collection.repo.full_name, release.name, release.summary, release.method or "", *release.classes]
    haystack = "\n".join([*said, *release.provides]).casefold()
    return all(word in haystack for word in text.casefold().split())


def _scoring(collection: Collection) -> list[Release]:
    return [release for release in collection.index.releases if release.kind != "base"]


def _rank(hit: Hit, question: Question) -> tuple[int, float, str]:
    """Return a sort key: called so first, then scoring such a class, then by F1, then by name."""
    words = question.q.casefold().split()
    release = hit.release
    scoring = any(label.casefold() in words for label in release.classes)
    closeness = 0 if release.name in words else 1 if scoring else 2
    return closeness, -(release.lower_bound("f1") or 0.0), f"{hit.collection.repo.full_name}/{release.name}"


def _sorted(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))


def _share(text: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        Malformed: it is none.
    """
    try:
        value = float(text or 0)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Malformed(f"min_f1 is {text[:60]!r}; expected a number from 0 to 1")
    return value
