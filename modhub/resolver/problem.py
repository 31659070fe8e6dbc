"""Requirements as a problem for PubGrub: an answer, or the proof that there is none.

Only this file and `provider` know the solver's library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nab_resolver.errors import ResolutionError, ResolutionTerminatedError
from nab_resolver.resolver import Resolver
from nab_resolver.types import IncompatibilityCause, RootRequirement

from modhub.errors import ResolveError, UsageError
from modhub.resolver.nodes import node_of
from modhub.resolver.provider import Provider
from modhub.spec.names import PackageId
from modhub.spec.requirements import PathRequirement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nab_resolver.types import Incompatibility

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.nodes import Node, Wanted
    from modhub.resolver.universe import Universe
    from modhub.spec.requirements import Requirement


@dataclass(frozen=True, kw_only=True)
class Link:
    """A step of a proof: these releases, found in a package or slot, all depend on one node."""

    source: Node
    candidates: tuple[Candidate, ...]
    target: Node


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An answer: a release of each package, what each requirement got, and which package asked for which."""

    candidates: Mapping[PackageId, Candidate]
    parts: tuple[Candidate, ...]
    edges: tuple[tuple[PackageId, PackageId], ...]


@dataclass(frozen=True, kw_only=True)
class Refutation:
    """A proof that there is no answer: the requirements and dependencies it rests on."""

    requirements: tuple[Wanted, ...]
    links: tuple[Link, ...]


class Problem:
    """Requirements over a universe.

    Raises:
        UsageError: a requirement is a path, which no catalog can answer.
    """

    def __init__(self, universe: Universe, requirements: Sequence[Requirement]) -> None:
        self.universe = universe
        self.requirements = wanted(requirements)

    def solve(self) -> Choice | Refutation:
        """Return an answer, or the proof that there is none.

        Raises:
            ResolveError: the search took too long.
        """
        provider = Provider(self.universe, self.requirements)
        resolver: Resolver[Node, int] = Resolver(provider)
        roots: list[RootRequirement[Node, int]] = [
            RootRequirement(node_of(requirement), provider.satisfying(requirement), requirement)
            for requirement in self.requirements
        ]
        try:
            solution = resolver.solve(roots)
        except ResolutionTerminatedError as error:
            raise ResolveError(f"the search for fitting releases was given up: {error}") from error
        except ResolutionError as error:
            return _refutation(provider, error)
        chosen = {node: provider.candidate(node, version) for node, version in solution.pins.items()}
        packages = {node: each for node, each in chosen.items() if isinstance(node, PackageId) and each}
        return Choice(
            candidates=dict(sorted(packages.items())),
            parts=tuple(each for requirement in self.requirements if (each := chosen[node_of(requirement)])),
            edges=tuple(
                (parent, child)
                for parent, child in solution.edges
                if isinstance(parent, PackageId) and isinstance(child, PackageId)
            ),
        )


def wanted(requirements: Sequence[Requirement]) -> tuple[Wanted, ...]:
    """Return requirements that a catalog can answer.

    Raises:
        UsageError: one is a path.
    """
    found: list[Wanted] = []
    for requirement in requirements:
        if isinstance(requirement, PathRequirement):
            raise UsageError(f"{requirement} is a path: read the package, no registry can be asked for it")
        found.append(requirement)
    return tuple(found)


def _refutation(provider: Provider, error: ResolutionError) -> Refutation:
    proof: Incompatibility[Any, Any] | None = error.incompatibility
    if proof is None:
        raise ResolveError(f"the search for fitting releases failed: {error}") from error
    steps = list(proof.walk())
    return Refutation(
        requirements=tuple(step.origin for step in steps if step.cause is IncompatibilityCause.ROOT),
        links=tuple(_link(provider, step) for step in steps if step.cause is IncompatibilityCause.DEPENDENCY),
    )


def _link(provider: Provider, step: Incompatibility[Any, Any]) -> Link:
    source = next(term for term in step.terms if term.is_positive())
    target = next((term for term in step.terms if not term.is_positive()), source)
    found = enumerate(provider.candidates(source.package))
    return Link(
        source=source.package,
        candidates=tuple(candidate for number, candidate in found if number in source.constraint),
        target=target.package,
    )
