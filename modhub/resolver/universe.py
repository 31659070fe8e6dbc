"""The releases that may be chosen under some options, numbered for the solver.

The versions of a package are the numbers of its eligible releases, oldest first. So the solver computes with integers,
and every rule on versions stays in `objections`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.resolver.objections import early_objection, general_objection, objection
from modhub.resolver.phrases import Phrase
from modhub.spec.versions import format_specifier, parse_specifier

if TYPE_CHECKING:
    from modhub.resolver.catalog import Candidate, Catalog
    from modhub.resolver.options import Options
    from modhub.spec.names import PackageId
    from modhub.spec.provenance import Dependency
    from modhub.spec.requirements import ClassRequirement, PackageRequirement


class Universe:
    """A catalog seen through options; every package is looked up once."""

    def __init__(self, catalog: Catalog, *, options: Options) -> None:
        self.catalog = catalog
        self.options = options
        self._eligible: dict[PackageId, tuple[Candidate, ...]] = {}
        self._refused: dict[PackageId, tuple[tuple[Candidate, Phrase], ...]] = {}
        self._numbers: dict[PackageId, dict[str, int]] = {}

    def candidates(self, package: PackageId) -> tuple[Candidate, ...]:
        """Return the releases of a package that may be chosen, oldest first; the solver knows them by position."""
        self._look_up(package)
        return self._eligible[package]

    def number(self, candidate: Candidate) -> int:
        """Return the solver's version of an eligible release."""
        self._look_up(candidate.package)
        return self._numbers[candidate.package][candidate.release.version]

    def refused(self, package: PackageId) -> tuple[tuple[Candidate, Phrase], ...]:
        """Return the other releases of a package, oldest first, and why each is refused."""
        self._look_up(package)
        return self._refused[package]

    def satisfying(self, requirement: PackageRequirement) -> tuple[int, ...]:
        """Return which releases of its package satisfy a requirement."""
        return tuple(
            number
            for number, candidate in enumerate(self.candidates(requirement.package))
            if objection(candidate, requirement, options=self.options) is None
        )

    def providers(self, requirement: ClassRequirement) -> tuple[Candidate, ...]:
        """Return the releases that satisfy a requirement for a class, in the order of names and versions."""
        return tuple(
            candidate
            for package in sorted(self.catalog.providers(requirement.capability))
            for candidate in self.candidates(package)
            if objection(candidate, requirement, options=self.options) is None
        )

    def fulfilling(self, dependency: Dependency, *, of: Candidate) -> tuple[int, ...]:
        """Return which releases fulfil a dependency of a candidate."""
        candidates = self.candidates(dependency.package_in(of.package.collection))
        return tuple(
            number
            for number, candidate in enumerate(candidates)
            if self.dependency_objection(candidate, dependency) is None
        )

    def dependency_objection(self, candidate: Candidate, dependency: Dependency) -> Phrase | None:
        """Return why an eligible release does not fulfil a dependency, or none."""
        specifier = parse_specifier(dependency.version)
        if not specifier.contains(candidate.number, prereleases=True):
            return Phrase("is", f"outside {format_specifier(specifier)}")
        if candidate.release.manifest.sha256 != dependency.sha256:
            return Phrase("has", "another digest")
        return early_objection(candidate, options=self.options, specifier=specifier)

    def _look_up(self, package: PackageId) -> None:
        if package in self._eligible:
            return
        found = sorted(self.catalog.releases(package), key=lambda candidate: candidate.number)
        judged = [(candidate, general_objection(candidate, options=self.options)) for candidate in found]
        eligible = tuple(candidate for candidate, phrase in judged if phrase is None)
        self._eligible[package] = eligible
        self._refused[package] = tuple((candidate, phrase) for candidate, phrase in judged if phrase is not None)
        self._numbers[package] = {candidate.release.version: number for number, candidate in enumerate(eligible)}
