"""A conflict told in sentences.

```
cannot combine acme/pets/cat>=1.2,<2 with acme/zoo/dog: they take different inputs
  acme/pets/cat 1.2.0 and 1.3.0 take image RGB NCHW [batch, 3, 32, 32] in 0..1
  acme/zoo/dog 2.0.0 takes image RGB NCHW [batch, 3, 224, 224] in 0..1
try:
  class:dog instead of acme/zoo/dog (acme/pets/dog 1.0.0)
```

The requirements are narrowed until each of them is needed for the conflict. The facts are the dependencies in the
solver's proof. The advice was tried: each line changes one requirement, and then everything can be satisfied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.resolver.phrases import Fact, Phrase, listed, listed_versions
from modhub.resolver.problem import Problem, Refutation
from modhub.resolver.properties import INT8, Property, demand_on, precision_demand
from modhub.resolver.relax import Suggestion, suggestions
from modhub.resolver.unmet import dependency_phrase, unmet_facts
from modhub.spec.requirements import PackageRequirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.nodes import Node, Wanted
    from modhub.resolver.universe import Universe
    from modhub.spec.names import PackageId


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Why there is no answer.

    Args:
        requirements: those that cannot be satisfied together; without any one of them the others can be.
        summary: in what they differ, or nothing.
        facts: what the proof rests on.
        suggestions: changes that were tried and work.
    """

    requirements: tuple[Wanted, ...]
    summary: str
    facts: tuple[Fact, ...]
    suggestions: tuple[Suggestion, ...]

    def __str__(self) -> str:
        """Return the conflict in sentences, one a line."""
        first, *others = map(str, self.requirements)
        head = f"cannot combine {first} with {listed(others)}" if others else f"nothing satisfies {first}"
        lines = [f"{head}: {self.summary}" if self.summary else head]
        lines += [f"  {fact}" for fact in self.facts]
        lines += ["try:", *(f"  {suggestion}" for suggestion in self.suggestions)] if self.suggestions else []
        return "\n".join(lines)


def explain(problem: Problem, refutation: Refutation) -> Conflict:
    """Return the conflict that a refutation proves, as narrow as it gets, with changes that resolve it.

    Raises:
        ResolveError: a search took too long.
    """
    core, proof = _narrowed(problem, refutation)
    statements = list(_statements(problem.universe, core=core, proof=proof))
    told = _facts(problem.universe, statements, core=core)
    unmet = [fact for requirement in core for fact in unmet_facts(problem.universe, requirement)]
    return Conflict(
        requirements=core,
        summary=_summary(statements) if len(core) > 1 else "",
        facts=tuple(unmet or [*_allowances(problem.universe, core=core, proof=proof), *told]),
        suggestions=suggestions(problem, core=core),
    )


def _narrowed(problem: Problem, refutation: Refutation) -> tuple[tuple[Wanted, ...], Refutation]:
    """Return requirements that conflict, none of which can be spared, and the proof."""
    proof = refutation
    core = [each for each in problem.requirements if each in proof.requirements]
    for requirement in tuple(core):
        fewer = [each for each in core if each != requirement]
        answer = Problem(problem.universe, fewer).solve()
        if isinstance(answer, Refutation):
            core, proof = fewer, answer
    return tuple(dict.fromkeys(core)), proof


@dataclass(frozen=True, kw_only=True)
class _Statement:
    """What a step of the proof says of one release, and about which node."""

    candidate: Candidate
    target: Node
    phrase: Phrase


def _statements(universe: Universe, *, core: tuple[Wanted, ...], proof: Refutation) -> Iterator[_Statement]:
    """Yield what the proof rests on, without releases that the requirements exclude anyway."""
    for link in proof.links:
        for candidate in link.candidates:
            if not _is_excluded(candidate, core=core, universe=universe):
                for phrase in _phrases(universe, candidate, target=link.target, core=core):
                    yield _Statement(candidate=candidate, target=link.target, phrase=phrase)


def _is_excluded(candidate: Candidate, *, core: tuple[Wanted, ...], universe: Universe) -> bool:
    return any(
        isinstance(wanted, PackageRequirement)
        and wanted.package == candidate.package
        and universe.objection(candidate, wanted) is not None
        for wanted in core
    )


def _phrases(universe: Universe, candidate: Candidate, *, target: Node, core: tuple[Wanted, ...]) -> list[Phrase]:
    if isinstance(target, Property) and target.is_precision:
        asked = [each.variant for each in core if universe.asks_for(each, candidate)]
        return [precision_demand(candidate, variant=INT8 if INT8 in asked else None).phrase]
    if isinstance(target, Property):
        found = demand_on(candidate, target, options=universe.options)
        return [found.phrase] if found else []
    collection = candidate.package.collection
    needed = [each for each in candidate.needs if each.package_in(collection) == target]
    return [dependency_phrase(universe, candidate, dependency=dependency) for dependency in needed]


def _summary(statements: list[_Statement]) -> str:
    """Return in what the packages differ: the node that different packages want in different ways."""
    for target in dict.fromkeys(statement.target for statement in statements):
        said = [statement for statement in statements if statement.target == target]
        # Of a class no two packages say anything different: both score it.
        differ = len({each.phrase for each in said}) > 1 or (isinstance(target, Property) and target.is_of_one)
        if differ and len({each.candidate.package for each in said}) > 1:
            return target.summary if isinstance(target, Property) else f"they need different versions of {target}"
    return ""


def _allowances(universe: Universe, *, core: tuple[Wanted, ...], proof: Refutation) -> list[Fact]:
    """Return which releases a requirement allows, where other requirements or packages want others of them."""
    named = [wanted.package for wanted in core if isinstance(wanted, PackageRequirement)]
    contested = {link.target for link in proof.links} | {package for package in named if named.count(package) > 1}
    return [
        Fact(subject=str(wanted), phrase=Phrase("allows", listed_versions(_allowed(universe, wanted))))
        for wanted in core
        if isinstance(wanted, PackageRequirement) and wanted.package in contested
    ]


def _allowed(universe: Universe, wanted: PackageRequirement) -> list[str]:
    candidates = universe.candidates(wanted.package)
    return [candidates[number].release.version for number in universe.satisfying(wanted)]


def _facts(universe: Universe, statements: list[_Statement], *, core: tuple[Wanted, ...]) -> list[Fact]:
    """Return the statements merged by package and phrase, in the order of the requirements and versions."""
    merged: dict[tuple[PackageId, str, Phrase], dict[Version, None]] = {}
    for each in statements:
        place = universe.place(each.candidate)
        merged.setdefault((each.candidate.package, place, each.phrase), {})[each.candidate.number] = None
    named = [wanted.package if isinstance(wanted, PackageRequirement) else None for wanted in core]

    def position(item: tuple[tuple[PackageId, str, Phrase], dict[Version, None]]) -> tuple[int, PackageId, Version]:
        package = item[0][0]
        return named.index(package) if package in named else len(named), package, min(item[1])

    return [
        Fact(subject=str(package), versions=tuple(map(str, sorted(versions))), place=place, phrase=phrase)
        for (package, place, phrase), versions in sorted(merged.items(), key=position)
    ]
