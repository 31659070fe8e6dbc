"""Versions of a runtime as whole numbers, so that the solver can intersect what parts need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from packaging.version import Version

if TYPE_CHECKING:
    from packaging.specifiers import Specifier, SpecifierSet

Interval: TypeAlias = "tuple[int, int]"
"""The first and the last of consecutive versions."""

STEP = 10**6
"""More versions than any number of a version counts to; larger ones are taken for the largest."""
LAST = STEP**3 - 1


def intervals(specifier: SpecifierSet) -> list[Interval]:
    """Return the final versions ``X.Y.Z`` that a specifier allows, as intervals in order; pre-releases are left out.

    >>> from packaging.specifiers import SpecifierSet
    >>> intervals(SpecifierSet(">=0.0.2,<0.0.9,!=0.0.5"))
    [(2, 4), (6, 8)]
    """
    found = [(0, LAST)]
    for clause in specifier:
        allowed = _intervals(clause)
        pairs = ((max(a, c), min(b, d)) for a, b in found for c, d in allowed)
        found = sorted((low, high) for low, high in pairs if low <= high)
    return found


def _intervals(clause: Specifier) -> list[Interval]:
    operator, text = clause.operator, clause.version.removesuffix(".*")
    release = Version(text).release
    first = _number(release)
    # A pre-release comes before its final version, which is what is counted here.
    early = Version(text).is_prerelease
    if operator in ("==", "!="):
        last = _number((*release[:-1], release[-1] + 1)) - 1 if clause.version.endswith(".*") else first
        inside = [] if early else [(first, last)]
        return inside if operator == "==" else _outside(first, last) if inside else [(0, LAST)]
    if operator == "~=":
        return [(first, _number((*release[:-2], release[-2] + 1)) - 1)]
    if operator in (">=", ">"):
        return [(first if operator == ">=" or early else first + 1, LAST)]
    return [(0, first if operator == "<=" and not early else first - 1)] if first or operator == "<=" else []


def _outside(first: int, last: int) -> list[Interval]:
    return [(low, high) for low, high in ((0, first - 1), (last + 1, LAST)) if low <= high]


def _number(release: tuple[int, ...]) -> int:
    major, minor, patch = (*(min(number, STEP - 1) for number in release), 0, 0)[:3]
    return (major * STEP + minor) * STEP + patch
