"""`solve`: requirements and a catalog in; releases that fit together, or the reason why there are none, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.resolver.explain import Conflict, explain
from modhub.resolver.options import Options, Policy
from modhub.resolver.problem import Problem, Refutation, wanted
from modhub.resolver.resolution import Resolution
from modhub.resolver.universe import Universe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.resolver.catalog import Catalog
    from modhub.spec.requirements import Requirement

__all__ = ["Conflict", "Options", "Policy", "Resolution", "solve"]


def solve(
    catalog: Catalog, requirements: Sequence[Requirement], *, options: Options | None = None
) -> Resolution | Conflict:
    """Return releases that satisfy all requirements and fit together, or the conflict that prevents it.

    The answer depends on nothing but the arguments. Of each package the pinned version is taken where it fits, and the
    newest otherwise, in the order of the requirements; providers of a class are chosen as `Ranking` says. What a module
    needs in its own collection has the exact version and digest that the module names. A conflict is proved: without
    one of its requirements the others can be satisfied.

    Raises:
        UsageError: a requirement is a path.
        ResolveError: the search took too long.
    """
    universe = Universe(catalog, options=options or Options(), requirements=wanted(requirements))
    problem = Problem(universe, requirements)
    answer = problem.solve()
    if isinstance(answer, Refutation):
        return explain(problem, answer)
    return Resolution(
        requirements=problem.requirements, parts=answer.parts, chosen=answer.candidates, edges=answer.edges
    )
