"""Changes that resolve a conflict, found by relaxing one requirement at a time and solving again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.resolver.objections import policy_objection
from modhub.resolver.options import Policy
from modhub.resolver.phrases import listed
from modhub.resolver.problem import Choice, Problem, Refutation
from modhub.resolver.properties import INT8
from modhub.resolver.universe import Universe
from modhub.spec.requirements import ClassRequirement, PackageRequirement
from modhub.spec.versions import parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.nodes import Wanted
    from modhub.resolver.options import Options

MOST_TRIED = 6
"""Requirements of a conflict that are relaxed. Larger conflicts are rare, and every trial is a search."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A change after which everything can be satisfied.

    Args:
        use: what to ask for; nothing where leaving the old requirement out is the change.
        instead_of: the requirement to replace.
        outcome: the release that it then gets.
        note: a change of something else than a requirement, in words.
    """

    use: str = ""
    instead_of: str = ""
    outcome: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Return the change in words."""
        if self.note:
            return self.note
        change = f"{self.use} instead of {self.instead_of}" if self.use else f"leaving out {self.instead_of}"
        return f"{change} ({self.outcome})" if self.outcome else change


def suggestions(problem: Problem, *, core: tuple[Wanted, ...]) -> tuple[Suggestion, ...]:
    """Return at most one change for each requirement of a conflict; what to leave out where nothing else helps.

    Raises:
        ResolveError: a search took too long.
    """
    tried = core[:MOST_TRIED]
    found = [each for wanted in tried if (each := next(_relaxations(problem, wanted), None))]
    found += _policy_suggestions(problem)
    if not found and set(problem.requirements) != {*core[:1]}:
        found = [Suggestion(instead_of=str(wanted)) for wanted in tried if _without(problem, wanted) is not None]
    return (*found, *_apart(problem))


def _relaxations(problem: Problem, wanted: Wanted) -> Iterator[Suggestion]:
    """Yield changes to one requirement that work, the smallest first."""
    rounded = _rounded(problem, wanted)
    if rounded is not None and (part := _instead(problem, wanted, use=rounded)):
        yield Suggestion(use=str(rounded), instead_of=str(wanted), outcome=str(part))
    if isinstance(wanted, ClassRequirement):
        plain = ClassRequirement(class_name=wanted.class_name, origin=wanted.origin)
        if plain != wanted and (part := _instead(problem, wanted, use=plain)):
            yield Suggestion(use=str(plain), instead_of=str(wanted), outcome=str(part))
        return
    any_version = PackageRequirement(package=wanted.package, origin=wanted.origin)
    early = PackageRequirement(package=wanted.package, specifier=parse_specifier(">=0.0.0a0"), origin=wanted.origin)
    for relaxed in (any_version, early):
        if relaxed != wanted and (part := _instead(problem, wanted, use=relaxed)):
            exact = dataclasses.replace(relaxed, specifier=parse_specifier(f"=={part.release.version}"))
            yield Suggestion(use=str(exact), instead_of=str(wanted))
    for origin in problem.universe.origins(wanted.package.collection):
        moved = dataclasses.replace(wanted, origin=origin)
        if moved not in problem.requirements and (part := _instead(problem, wanted, use=moved)):
            yield Suggestion(use=str(moved), instead_of=str(wanted), outcome=str(part))
    for plain in _classes(problem, wanted):
        if part := _instead(problem, wanted, use=plain):
            yield Suggestion(use=str(plain), instead_of=str(wanted), outcome=str(part))


def _rounded(problem: Problem, wanted: Wanted) -> Wanted | None:
    """Return a requirement in eight bits, where others are asked for so and this one is not."""
    if wanted.variant is not None or all(each.variant != INT8 for each in problem.requirements):
        return None
    if isinstance(wanted, PackageRequirement):
        return dataclasses.replace(wanted, variant=INT8)
    return dataclasses.replace(wanted, options={**wanted.options, "variant": INT8})


def _classes(problem: Problem, wanted: PackageRequirement) -> list[ClassRequirement]:
    """Return the one class that a package provides, as a requirement that others may satisfy too."""
    candidates = problem.universe.candidates(wanted.package)
    provided = candidates[-1].release.provides if candidates else ()
    classes = [capability.removeprefix("class:") for capability in provided if capability.startswith("class:")]
    return [ClassRequirement(class_name=classes[0], origin=wanted.origin)] if len(classes) == 1 else []


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


def _policy_suggestions(problem: Problem) -> list[Suggestion]:
    """Return which part of the policy alone stands in the way; all of it where several do."""
    options = problem.universe.options
    policy, none = options.policy, Policy()
    parts = {
        "min_f1": f"a min-f1 below {policy.min_f1 or 0:g}",
        "max_size": f"a max-size above {policy.max_size or 0}",
        "licenses": "allowing more licences",
        "onnxruntime": f"another onnxruntime than {policy.onnxruntime}",
    }
    active = [name for name in parts if getattr(policy, name) != getattr(none, name)]
    for name in active:
        freed = dataclasses.replace(policy, **{name: getattr(none, name)})
        if answer := _under(problem, dataclasses.replace(options, policy=freed)):
            text = _allowing(answer, policy=policy) if name == "licenses" else parts[name]
            return [Suggestion(note=f"{text} ({_refused(answer, policy=policy)})")]
    freed = dataclasses.replace(policy, **{name: getattr(none, name) for name in active})
    answer = _under(problem, dataclasses.replace(options, policy=freed)) if len(active) > 1 else None
    return [Suggestion(note=f"another policy ({_refused(answer, policy=policy)})")] if answer else []


def _apart(problem: Problem) -> list[Suggestion]:
    """Return that modules which do not fit into one model can be had apart, where that is so."""
    options = problem.universe.options
    answer = _under(problem, dataclasses.replace(options, compatible=False)) if options.compatible else None
    return [Suggestion(note="--apart, where they need not fit into one model")] if answer else []


def _under(problem: Problem, options: Options) -> Choice | None:
    """Return the answer under other options, or none."""
    universe = Universe(problem.universe.catalog, options=options, requirements=problem.requirements)
    answer = Problem(universe, problem.requirements).solve()
    return answer if isinstance(answer, Choice) else None


def _allowing(answer: Choice, *, policy: Policy) -> str:
    refused = [each.release for each in answer.candidates.values() if policy_objection(each.release, policy=policy)]
    return f"allowing {listed(sorted({release.terms for release in refused}))} too"


def _refused(answer: Choice, *, policy: Policy) -> str:
    """Return the releases of an answer that a policy refuses, in words."""
    found = [str(each) for each in answer.candidates.values() if policy_objection(each.release, policy=policy)]
    return listed(found if len(found) <= MOST_TRIED else [*found[:MOST_TRIED], "others"])
