"""The releases that may be chosen under some options, numbered for the solver.

The versions of a package are the numbers of its eligible releases, oldest first. So the solver computes with integers,
and every rule on versions stays in `objections`.

A name is looked up where it was asked for: in the registry that a requirement names, or in the first that has its
collection. Where requirements name several registries for one collection, the releases of all of them are numbered, and
each requirement is satisfied by those of its own alone; what a release needs in its own collection comes from the
registry of the release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.resolver.objections import early_objection, general_objection, objection
from modhub.resolver.phrases import Phrase
from modhub.spec.requirements import PackageRequirement
from modhub.spec.versions import format_specifier, parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modhub.resolver.catalog import Candidate, Catalog
    from modhub.resolver.nodes import Wanted
    from modhub.resolver.options import Options
    from modhub.spec.names import CollectionId, PackageId
    from modhub.spec.provenance import Dependency
    from modhub.spec.requirements import ClassRequirement


class Universe:
    """A catalog seen through options; every package is looked up once.

    Args:
        catalog: what there is.
        options: how to choose.
        requirements: those whose origins are looked at; see above.
    """

    def __init__(self, catalog: Catalog, *, options: Options, requirements: Iterable[Wanted] = ()) -> None:
        self.catalog = catalog
        self.options = options
        self._homes: dict[CollectionId, dict[str | None, None]] = {}
        self._shared: dict[str | None, None] = {}
        for wanted in requirements:
            if isinstance(wanted, PackageRequirement):
                self._homes.setdefault(wanted.package.collection, {})[wanted.origin] = None
            else:
                self._shared[wanted.origin] = None
        self._places: dict[tuple[CollectionId, str | None], str] = {}
        self._eligible: dict[PackageId, tuple[Candidate, ...]] = {}
        self._refused: dict[PackageId, tuple[tuple[Candidate, Phrase], ...]] = {}
        self._numbers: dict[PackageId, dict[tuple[str, str], int]] = {}

    def candidates(self, package: PackageId) -> tuple[Candidate, ...]:
        """Return the releases of a package that may be chosen, oldest first; the solver knows them by position."""
        self._look_up(package)
        return self._eligible[package]

    def place(self, candidate: Candidate) -> str:
        """Return the registry of a release where its collection is asked from several, else nothing."""
        collection = candidate.package.collection
        places = {place for (each, _), place in self._places.items() if each == collection}
        return candidate.registry if len(places) > 1 else ""

    def origins(self, collection: CollectionId) -> tuple[str | None, ...]:
        """Return the origins that requirements name for a collection, None for one without."""
        return tuple(self._homes.get(collection, ()))

    def number(self, candidate: Candidate) -> int:
        """Return the solver's version of an eligible release."""
        self._look_up(candidate.package)
        return self._numbers[candidate.package][_key(candidate)]

    def refused(self, package: PackageId) -> tuple[tuple[Candidate, Phrase], ...]:
        """Return the other releases of a package, oldest first, and why each is refused."""
        self._look_up(package)
        return self._refused[package]

    def satisfying(self, requirement: PackageRequirement) -> tuple[int, ...]:
        """Return which releases of its package satisfy a requirement."""
        return tuple(
            number
            for number, candidate in enumerate(self.candidates(requirement.package))
            if self.objection(candidate, requirement) is None
        )

    def objection(self, candidate: Candidate, requirement: Wanted) -> Phrase | None:
        """Return why a release does not satisfy a requirement, or none."""
        place = self._places.get((candidate.package.collection, requirement.origin))
        if candidate.registry != place:
            return Phrase("lies", f"in {candidate.registry}, not where it was asked for")
        return objection(candidate, requirement, options=self.options)

    def asks_for(self, requirement: Wanted, candidate: Candidate) -> bool:
        """Return whether a release is what a requirement asks for."""
        named = not isinstance(requirement, PackageRequirement) or requirement.package == candidate.package
        return named and self.objection(candidate, requirement) is None

    def providers(self, requirement: ClassRequirement) -> tuple[Candidate, ...]:
        """Return the releases that satisfy a requirement for a class, in the order of names and versions."""
        return tuple(
            candidate
            for package in sorted(self.catalog.providers(requirement.capability, origin=requirement.origin))
            for candidate in self.candidates(package)
            if self.objection(candidate, requirement) is None
        )

    def fulfilling(self, dependency: Dependency, *, of: Candidate) -> tuple[int, ...]:
        """Return which releases fulfil a dependency of a candidate."""
        candidates = self.candidates(dependency.package_in(of.package.collection))
        return tuple(
            number
            for number, candidate in enumerate(candidates)
            if self.dependency_objection(candidate, dependency, of=of) is None
        )

    def dependency_objection(self, candidate: Candidate, dependency: Dependency, *, of: Candidate) -> Phrase | None:
        """Return why an eligible release does not fulfil a dependency of another, or none."""
        specifier = parse_specifier(dependency.version)
        if not specifier.contains(candidate.number, prereleases=True):
            return Phrase("is", f"outside {format_specifier(specifier)}")
        if dependency.is_local and candidate.registry != of.registry:
            return Phrase("lies", f"in {candidate.registry} only")
        if candidate.release.manifest.sha256 != dependency.sha256:
            return Phrase("has", "another digest")
        parents = candidate.release.parent, of.release.parent
        if candidate.release.kind == "base" and None not in parents and parents[0] != parents[1]:
            return Phrase("is", "the network {:.12}, and the module was cut from {:.12}".format(*parents))
        return early_objection(candidate, options=self.options, specifier=specifier)

    def _look_up(self, package: PackageId) -> None:
        if package in self._eligible:
            return
        found = sorted(self._found(package), key=lambda candidate: (candidate.number, candidate.registry))
        judged = [(candidate, general_objection(candidate, options=self.options)) for candidate in found]
        eligible = tuple(candidate for candidate, phrase in judged if phrase is None)
        self._eligible[package] = eligible
        self._refused[package] = tuple((candidate, phrase) for candidate, phrase in judged if phrase is not None)
        self._numbers[package] = {_key(candidate): number for number, candidate in enumerate(eligible)}

    def _found(self, package: PackageId) -> Iterable[Candidate]:
        """Return the releases of a package in every registry that it is asked from, each registry's once."""
        named = self._homes.get(package.collection, {})
        found = self._read(package, named | self._shared or {None: None})
        if found or named:
            return found.values()
        # A release needs it, whose digest is known, so that it does not matter where it comes from.
        origins = {origin: None for homes in self._homes.values() for origin in homes}
        return self._read(package, {None: None} | origins).values()

    def _read(self, package: PackageId, origins: Iterable[str | None]) -> dict[tuple[str, str], Candidate]:
        found: dict[tuple[str, str], Candidate] = {}
        for origin in origins:
            for candidate in self.catalog.releases(package, origin=origin):
                found[_key(candidate)] = candidate
                self._places[package.collection, origin] = candidate.registry
        return found


def _key(candidate: Candidate) -> tuple[str, str]:
    return candidate.registry, candidate.release.version
