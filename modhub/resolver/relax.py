"""Changes that resolve a conflict, found by relaxing one requirement at a time and solving again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.resolver.objections import policy_objection
from modhub.resolver.options import Policy
from modhub.resolver.problem import Choice, Problem, Refutation
from modhub.resolver.universe import Universe
from modhub.spec.requirements import ClassRequirement, PackageRequirement
from modhub.spec.versions import parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.nodes import Wanted

MOST_TRIED = 6
"""Requirements of a conflict that are relaxed. Larger conflicts are rare, and every trial is a search."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A change after which everything can be satisfied.

    Args:
        use: what to ask for; nothing where leaving the old requirement out is the change.
        instead_of: the requirement to replace.
        outcome: the release that it then gets.
    """

    use: str
    instead_of: str
    outcome: str = ""

    def __str__(self) -> str:
        """Return the change in words."""
        change = f"{self.use} instead of {self.instead_of}" if self.use else f"leaving out {self.instead_of}"
        return f"{change} ({self.outcome})" if self.outcome else change


def suggestions(problem: Problem, *, core: tuple[Wanted, ...]) -> tuple[Suggestion, ...]:
    """Return at most one change for each requirement of a conflict; what to leave out where nothing else helps.

    Raises:
        ResolveError: a search took too long.
    """
    tried = core[:MOST_TRIED]
    found = [each for wanted in tried if (each := next(_relaxations(problem, wanted), None))]
    found += _policy_suggestion(problem)
    if found or set(problem.requirements) == {*core[:1]}:
        return tuple(found)
    return tuple(
        Suggestion(use="", instead_of=str(wanted)) for wanted in tried if _without(problem, wanted) is not None
    )


def _relaxations(problem: Problem, wanted: Wanted) -> Iterator[Suggestion]:
    """Yield changes to one requirement that work, the smallest first."""
    if isinstance(wanted, ClassRequirement):
        plain = ClassRequirement(class_name=wanted.class_name)
        if plain != wanted and (part := _instead(problem, wanted, use=plain)):
            yield Suggestion(use=str(plain), instead_of=str(wanted), outcome=str(part))
        return
    any_version = PackageRequirement(package=wanted.package)
    early = PackageRequirement(package=wanted.package, specifier=parse_specifier(">=0.0.0a0"))
    for relaxed in (any_version, early):
        if relaxed != wanted and (part := _instead(problem, wanted, use=relaxed)):
            yield Suggestion(use=f"{wanted.package}=={part.release.version}", instead_of=str(wanted))
    for plain in _classes(problem, wanted):
        if part := _instead(problem, wanted, use=plain):
            yield Suggestion(use=str(plain), instead_of=str(wanted), outcome=str(part))


def _classes(problem: Problem, wanted: PackageRequirement) -> list[ClassRequirement]:
    """Return the one class that a package provides, as a requirement that others may satisfy too."""
    candidates = problem.universe.candidates(wanted.package)
    provided = candidates[-1].release.provides if candidates else ()
    classes = [capability.removeprefix("class:") for capability in provided if capability.startswith("class:")]
    return [ClassRequirement(class_name=classes[0])] if len(classes) == 1 else []


def _instead(problem: Problem, wanted: Wanted, *, use: Wanted) -> Candidate | None:
    """Return what a requirement gets when it replaces another one, or none where that does not help."""
    changed = [use if each == wanted else each for each in problem.requirements]
    answer = Problem(problem.universe, changed).solve()
    if isinstance(answer, Refutation):
        return None
    position = changed.index(use)
    part = answer.parts[position]
    # A class that falls on a package asked for anyway is no answer to somebody who wants two modules.
    others = {each.package for place, each in enumerate(answer.parts) if place != position}
    return None if isinstance(use, ClassRequirement) and part.package in others else part


def _without(problem: Problem, wanted: Wanted) -> Choice | None:
    answer = Problem(problem.universe, [each for each in problem.requirements if each != wanted]).solve()
    return answer if isinstance(answer, Choice) else None


def _policy_suggestion(problem: Problem) -> list[Suggestion]:
    """Return what the policy would have to allow, where it alone stands in the way."""
    options = problem.universe.options
    if options.policy == Policy():
        return []
    free = Universe(problem.universe.catalog, options=dataclasses.replace(options, policy=Policy()))
    answer = Problem(free, problem.requirements).solve()
    if not isinstance(answer, Choice):
        return []
    refused = [each for each in answer.candidates.values() if policy_objection(each.release, policy=options.policy)]
    return [
        Suggestion(use=f"a policy that allows {each}", instead_of="this one")
        for each in sorted(refused, key=str)[:MOST_TRIED]
    ]
