"""What cannot be had at all: a requirement without any release, a dependency without any release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.resolver.phrases import Fact, Phrase
from modhub.spec.requirements import ClassRequirement
from modhub.spec.versions import parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.nodes import Wanted
    from modhub.resolver.universe import Universe
    from modhub.spec.names import PackageId
    from modhub.spec.provenance import Dependency


def unmet_facts(universe: Universe, requirement: Wanted) -> list[Fact]:
    """Return why each release fails a requirement that none satisfies; nothing where one does."""
    if isinstance(requirement, ClassRequirement):
        if universe.providers(requirement):
            return []
        packages = sorted(universe.catalog.providers(requirement.capability, origin=requirement.origin))
        missing = Fact(subject="nothing", phrase=Phrase("provides", requirement.capability))
    else:
        if universe.satisfying(requirement):
            return []
        packages = [requirement.package]
        missing = Fact(subject="there", phrase=Phrase("is", f"no package {requirement.package}"))
    judged = [pair for package in packages for pair in _judged(universe, package, requirement=requirement)]
    return _merged(judged) or [missing]


def dependency_phrase(universe: Universe, candidate: Candidate, *, dependency: Dependency) -> Phrase:
    """Return what a release needs, and where nothing fulfils the need, why."""
    package = dependency.package_in(candidate.package.collection)
    exact = dependency.version.removeprefix("==")
    need = f"{package} {exact}" if exact != dependency.version else f"{package}{dependency.version}"
    if dependency.is_local and (place := universe.place(candidate)):
        need += f" of {place}"
    problem = _dependency_problem(universe, candidate, dependency=dependency)
    rest = f"{need}, which {problem.verb} {problem.rest}" if problem else need
    known = [*universe.candidates(package), *(each for each, _ in universe.refused(package))]
    is_base = any(each.release.kind == "base" for each in known)
    return Phrase("is", f"built on {rest}") if is_base else Phrase("needs", rest)


def _dependency_problem(universe: Universe, candidate: Candidate, *, dependency: Dependency) -> Phrase | None:
    if universe.fulfilling(dependency, of=candidate):
        return None
    package, specifier = dependency.package_in(candidate.package.collection), parse_specifier(dependency.version)
    judged = [
        (each, universe.dependency_objection(each, dependency, of=candidate)) for each in universe.candidates(package)
    ]
    judged += universe.refused(package)
    near = [phrase for each, phrase in judged if phrase and specifier.contains(each.number, prereleases=True)]
    return near[-1] if near else Phrase("is", "not there")


def _judged(universe: Universe, package: PackageId, *, requirement: Wanted) -> Iterator[tuple[Candidate, Phrase]]:
    eligible = [(each, None) for each in universe.candidates(package)]
    for candidate, general in sorted([*eligible, *universe.refused(package)], key=lambda pair: pair[0].number):
        if isinstance(requirement, ClassRequirement) and requirement.capability not in candidate.release.provides:
            continue
        phrase = universe.objection(candidate, requirement) or general
        if phrase is not None:
            yield candidate, phrase


def _merged(judged: list[tuple[Candidate, Phrase]]) -> list[Fact]:
    versions: dict[tuple[PackageId, Phrase], list[str]] = {}
    for candidate, phrase in judged:
        versions.setdefault((candidate.package, phrase), []).append(candidate.release.version)
    return [
        Fact(subject=str(package), versions=tuple(found), phrase=phrase)
        for (package, phrase), found in versions.items()
    ]
