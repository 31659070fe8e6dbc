"""Which provider of a class to try first."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

from modhub.resolver.objections import is_pinned

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.options import Options


class Ranking:
    """The order of preference among the providers of some slots.

    A pinned release comes first, then one that is in use already, then one of a trunk in use, then one whose trunk
    serves the most slots; so the answer needs few trunks. Among equals the preference of the options decides, then
    accuracy, the date of the release, and its version. Who prefers ``f1`` wants the most accurate for each class, from
    as many trunks as there are: then accuracy comes right behind the pins. The choice is greedy: it never goes back for
    a better total.
    """

    def __init__(self, slots: Iterable[Collection[Candidate]], *, options: Options) -> None:
        self._options = options
        self._served: dict[str, int] = {}
        for candidates in slots:
            for trunk in {candidate.trunk for candidate in candidates}:
                self._served[trunk] = self._served.get(trunk, 0) + 1

    def best(self, allowed: Iterable[tuple[int, Candidate]], *, used: Collection[Candidate]) -> int:
        """Return the number of the provider to try first, given the parts that were decided before."""
        names, trunks = {str(candidate) for candidate in used}, {candidate.trunk for candidate in used}
        # Numbers run with names and versions: among equals in all else, the first name and its last version win.
        ordered = sorted(allowed, key=lambda pair: (pair[1].package, -pair[0]))
        return min(ordered, key=lambda pair: self._rank(pair[1], names=names, trunks=trunks))[0]

    def _rank(self, candidate: Candidate, *, names: Collection[str], trunks: Collection[str]) -> tuple[float, ...]:
        novelty = self._novelty(candidate, names=names, trunks=trunks)
        if self._options.prefer == "f1":
            return (min(novelty[0], 1), *self._merit(candidate), *novelty)
        return (*novelty, *self._merit(candidate))

    def _novelty(self, candidate: Candidate, *, names: Collection[str], trunks: Collection[str]) -> tuple[int, int]:
        if is_pinned(candidate, options=self._options):
            return 0, 0
        if str(candidate) in names:
            return 1, 0
        if candidate.trunk in trunks:
            return 2, 0
        return 3, -self._served.get(candidate.trunk, 0)

    def _merit(self, candidate: Candidate) -> tuple[float, float, float]:
        found = candidate.release.lower_bound("f1")
        accuracy = math.inf if found is None else -found
        age = -datetime.fromisoformat(candidate.release.created).timestamp()
        first = {"accuracy": accuracy, "size": float(candidate.release.size), "newest": age, "f1": accuracy}
        return first[self._options.prefer], accuracy, age
