"""`Provider`: what the solver asks, answered from a universe."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nab_resolver.ranges import Range
from nab_resolver.resolver import BaseProvider

from modhub.resolver.nodes import Node, Slot, node_of
from modhub.resolver.properties import INT8, Property, demands, precision_demand
from modhub.resolver.ranking import Ranking
from modhub.resolver.runtimes import intervals
from modhub.spec.names import PackageId
from modhub.spec.requirements import ClassRequirement, PackageRequirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nab_resolver.types import RangeProtocol

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.nodes import Wanted
    from modhub.resolver.properties import Demand
    from modhub.resolver.universe import Universe

Dependencies: TypeAlias = "Mapping[Node, Range[int]]"


class Provider(BaseProvider[Node, int]):
    """Answers the solver's questions from a universe."""

    def __init__(self, universe: Universe, requirements: Sequence[Wanted]) -> None:
        self.universe = universe
        self._named = {wanted.package for wanted in requirements if isinstance(wanted, PackageRequirement)}
        self._has_int8 = any(wanted.variant == INT8 for wanted in requirements)
        self._variants = {node_of(wanted): wanted.variant for wanted in requirements if wanted.variant}
        slots = [wanted for wanted in requirements if isinstance(wanted, ClassRequirement)]
        self._slots = {Slot(wanted): universe.providers(wanted) for wanted in slots}
        self._ranking = Ranking(self._slots.values(), options=universe.options)
        self._values: dict[Property, dict[str, int]] = {}
        self._bounds: dict[Property, set[int]] = {}
        self._dependencies: dict[tuple[Node, int], Dependencies] = {}
        self._runs: dict[tuple[Node, int], Range[int]] = {}
        self._decided: Mapping[Node, int] = {}

    def satisfying(self, wanted: Wanted) -> Range[int]:
        """Return which versions of its node satisfy a requirement."""
        if isinstance(wanted, PackageRequirement):
            return numbers(self.universe.satisfying(wanted))
        return numbers(range(len(self._slots[Slot(wanted)])))

    def candidates(self, node: Node) -> tuple[Candidate, ...]:
        """Return the releases that the versions of a node stand for; none for a property."""
        if isinstance(node, Slot):
            return self._slots[node]
        return self.universe.candidates(node) if isinstance(node, PackageId) else ()

    def candidate(self, node: Node, version: int) -> Candidate | None:
        """Return the release that a version of a node stands for; none for a property."""
        return None if isinstance(node, Property) else self.candidates(node)[version]

    def choose_version(self, package: Node, version_range: RangeProtocol[int]) -> int | None:
        """Return the version to try first: the pinned one, the best provider of a class, the newest of a package."""
        if isinstance(package, Property):
            known = sorted(self._bounds.get(package, ())) or self._values.get(package, {}).values()
            return next((value for value in known if value in version_range), None)
        allowed = [pair for pair in enumerate(self.candidates(package)) if pair[0] in version_range]
        if not allowed:
            return None
        if isinstance(package, Slot):
            used = [each for node, version in self._decided.items() if (each := self._part(node, version))]
            return self._ranking.best(allowed, used=used)
        pin = self.universe.options.pins.get(package)
        return next((number for number, each in allowed if each.release.version == pin), allowed[-1][0])

    def has_satisfying_version(self, package: Node, version_range: RangeProtocol[int]) -> bool:
        """Return whether there is a version to try."""
        return self.choose_version(package, version_range) is not None

    def get_dependencies(self, package: Node, version: int) -> Dependencies:
        """Return what a version depends on."""
        key = (package, version)
        if key not in self._dependencies:
            self._dependencies[key] = _intersected(self._needed(package, version))
        return self._dependencies[key]

    def prioritize(
        self,
        package: Node,
        version_range: RangeProtocol[int],
        conflict_counts: Mapping[Node, int],
        culprit_counts: Mapping[Node, int] | None = None,
    ) -> tuple[bool, int, int]:
        """Return when to decide on a node: slots last, so that the bases in use are known.

        Of packages first those to upgrade, then the pinned ones, so that whatever moves is neither.
        """
        del version_range, culprit_counts
        options = self.universe.options
        turn = 0 if package in options.upgrading else 1 if package in options.pins else 2
        return isinstance(package, Slot), turn, -conflict_counts.get(package, 0)

    def widen_decision(self, package: Node, version: int) -> Range[int] | None:
        """Return the consecutive versions of a package that have the very same dependencies."""
        if not isinstance(package, PackageId):
            return None
        key = (package, version)
        if key not in self._runs:
            self._runs[key] = self._run(package, version)
        return self._runs[key]

    def _run(self, package: PackageId, version: int) -> Range[int]:
        wanted, last = self.get_dependencies(package, version), len(self.candidates(package)) - 1
        low = high = version
        while low > 0 and self.get_dependencies(package, low - 1) == wanted:
            low -= 1
        while high < last and self.get_dependencies(package, high + 1) == wanted:
            high += 1
        return Range(((low, True, high, True),))

    def receive_partial_solution_hint(
        self, positive_ranges: Mapping[Node, RangeProtocol[int]], decisions: Mapping[Node, int]
    ) -> None:
        """Take note of the decisions, by which providers of a class are ranked."""
        del positive_ranges
        self._decided = decisions

    def _part(self, node: Node, version: int) -> Candidate | None:
        """Return the release that a decision made part of the answer, in its own right."""
        return self.candidate(node, version) if isinstance(node, Slot) or node in self._named else None

    def _needed(self, node: Node, version: int) -> Iterator[tuple[Node, Range[int]]]:
        candidate = self.candidate(node, version)
        if candidate is None:
            return
        if isinstance(node, Slot) or node in self._named:
            for demand in demands(candidate, options=self.universe.options):
                yield demand.property, self._accepted(demand)
            if self._has_int8 and self.universe.options.compatible and candidate.release.kind == "module":
                demand = precision_demand(candidate, variant=self._variants.get(node))
                yield demand.property, self._accepted(demand)
        if isinstance(node, Slot):
            yield candidate.package, Range.singleton(self.universe.number(candidate))
            return
        for dependency in candidate.needs:
            yield (
                dependency.package_in(candidate.package.collection),
                numbers(self.universe.fulfilling(dependency, of=candidate)),
            )

    def _accepted(self, demand: Demand) -> Range[int]:
        """Return the values of a property that a part accepts, as the solver counts them."""
        if isinstance(demand.accepted, frozenset):
            values = self._values.setdefault(demand.property, {})
            return numbers(sorted(values.setdefault(value, len(values)) for value in sorted(demand.accepted)))
        found = intervals(demand.accepted)
        bounds = self._bounds.setdefault(demand.property, {0})
        bounds.update(bound for low, high in found for bound in (low, high + 1))
        return Range(tuple((low, True, high, True) for low, high in found))


def numbers(versions: Iterable[int]) -> Range[int]:
    """Return the range of some of the solver's versions; consecutive ones make one interval."""
    runs: list[tuple[int, int]] = []
    for version in versions:
        if runs and runs[-1][1] == version - 1:
            runs[-1] = (runs[-1][0], version)
        else:
            runs.append((version, version))
    return Range(tuple((low, True, high, True) for low, high in runs))


def _intersected(needed: Iterable[tuple[Node, Range[int]]]) -> dict[Node, Range[int]]:
    """Return one range a node: a package may be needed twice, as ``./base`` and by its full name."""
    merged: dict[Node, Range[int]] = {}
    for node, versions in needed:
        merged[node] = merged[node] & versions if node in merged else versions
    return merged
