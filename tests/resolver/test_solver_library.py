"""What we rely on in the library behind `solve`: it finds an answer where there is one, in circles too.

Dependencies of modules are exact, so its harder problems never come from a registry of ours; a new version of it has to
solve them all the same. ``MODHUB_STRESS=1`` tries sixty thousand random ones.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from nab_resolver.errors import ResolutionError
from nab_resolver.ranges import Range
from nab_resolver.resolver import BaseProvider, Resolver
from nab_resolver.types import RootRequirement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nab_resolver.types import RangeProtocol

Needs: TypeAlias = "Mapping[str, list[int]]"
Packages: TypeAlias = "Mapping[str, Mapping[int, Needs]]"
Answer: TypeAlias = "dict[str, int] | None"

CASES = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))["cases"]
INSTANCES = 60_000 if os.environ.get("MODHUB_STRESS") == "1" else 3_000


class Provider(BaseProvider[str, int]):
    """Packages as integers; the newest version first."""

    def __init__(self, packages: Packages, *, widens: bool) -> None:
        self.packages = packages
        self.widens = widens

    def choose_version(self, package: str, version_range: RangeProtocol[int]) -> int | None:
        """Return the newest version in a range."""
        return max((each for each in self.packages.get(package, {}) if each in version_range), default=None)

    def has_satisfying_version(self, package: str, version_range: RangeProtocol[int]) -> bool:
        """Return whether there is one."""
        return self.choose_version(package, version_range) is not None

    def get_dependencies(self, package: str, version: int) -> Mapping[str, Range[int]]:
        """Return what a version needs."""
        return {name: Range.from_versions(each) for name, each in self.packages[package][version].items()}

    def prioritize(self, package: str, *_: Any, **__: Any) -> str:
        """Return the name: any order will do."""
        return package

    def widen_decision(self, package: str, version: int) -> Range[int] | None:
        """Return the neighbouring versions with the same needs."""
        if not self.widens:
            return None
        known = sorted(self.packages[package])
        low = high = known.index(version)
        while low > 0 and self.packages[package][known[low - 1]] == self.packages[package][version]:
            low -= 1
        while high + 1 < len(known) and self.packages[package][known[high + 1]] == self.packages[package][version]:
            high += 1
        return Range(((known[low], True, known[high], True),))


def solved(packages: Packages, roots: Needs, *, widens: bool = True) -> Answer:
    """Return what the library answers."""
    resolver: Resolver[str, int] = Resolver(Provider(packages, widens=widens))
    try:
        wanted: list[RootRequirement[str, int]] = []
        for name, each in roots.items():
            allowed: Range[int] = Range.from_versions(each)
            wanted.append(RootRequirement(name, allowed, name))
        return dict(resolver.solve(wanted).pins)
    except ResolutionError:
        return None


def is_valid(packages: Packages, roots: Needs, answer: Mapping[str, int]) -> bool:
    """Tell whether an answer satisfies everything."""
    needs = [roots, *(packages[name][version] for name, version in answer.items())]
    return all(answer.get(name) in versions for each in needs for name, versions in each.items())


def has_answer(packages: Packages, roots: Needs) -> bool:
    """Tell whether there is an answer, by trying everything."""
    names = sorted(packages)
    options = [[None, *packages[name]] for name in names]
    for versions in itertools.product(*options):
        answer = {name: version for name, version in zip(names, versions, strict=True) if version is not None}
        if is_valid(packages, roots, answer):
            return True
    return False


def instance(seed: int) -> tuple[Packages, Needs]:
    """Return a small registry, cyclic more often than not, and what is asked of it."""
    chance = random.Random(seed)  # noqa: S311  No secret.
    names = [f"p{number}" for number in range(chance.randint(2, 5))]

    def needs(of: str) -> dict[str, list[int]]:
        others = [name for name in names if name != of]
        wanted = chance.sample(others, min(len(others), chance.choice((0, 1, 1, 2))))
        return {name: sorted(chance.sample((1, 2, 3, 4), chance.randint(1, 3))) for name in wanted}

    packages = {name: {version: needs(name) for version in range(1, chance.randint(2, 4))} for name in names}
    roots = {name: [1, 2, 3] for name in chance.sample(names, chance.randint(1, 2))}
    return packages, roots


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@pytest.mark.parametrize("widens", [True, False])
def test_a_published_problem_is_solved(case: Mapping[str, Any], *, widens: bool) -> None:
    packages = {
        name: {int(version): needs for version, needs in versions.items()}
        for name, versions in case["packages"].items()
    }
    assert case["source"]
    assert (case["answer"] is not None) == has_answer(packages, case["roots"])
    assert solved(packages, case["roots"], widens=widens) == case["answer"]


def test_random_problems_are_answered_as_brute_force_answers_them() -> None:
    count = 0
    for seed in range(INSTANCES):
        packages, roots = instance(seed)
        answer = solved(packages, roots, widens=seed % 2 == 0)
        if answer is None:
            assert not has_answer(packages, roots), seed
        else:
            assert is_valid(packages, roots, answer), seed
            count += 1
    assert 0.2 < count / INSTANCES < 0.9
