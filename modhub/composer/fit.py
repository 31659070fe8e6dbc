"""Can these parts stand side by side, and how?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import ComposeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.composer.part import Part

STRATEGIES = ("auto", "trunk", "parallel")


def choose_strategy(parts: Sequence[Part], wish: str) -> tuple[str, str]:
    """Return the strategy taken and why, in a sentence.

    Raises:
        ComposeError: the wish is unknown, or ``trunk`` is asked for modules of several parents.
    """
    if wish not in STRATEGIES:
        raise ComposeError(f"there is no strategy {wish!r}; the strategies are {', '.join(STRATEGIES)}")
    parents: set[str] = set().union(*(part.parents for part in parts))
    if wish == "parallel":
        return "parallel", "asked for"
    if len(parents) == 1:
        return "trunk", "all modules come from one parent, so what they share runs once"
    if wish == "trunk":
        raise ComposeError(f"the modules come from {len(parents)} parents and share no trunk: use 'parallel' or 'auto'")
    return "parallel", f"the modules come from {len(parents)} parents and run side by side"


def check_fit(parts: Sequence[Part]) -> None:
    """Check that the parts can stand side by side.

    Raises:
        ComposeError: names both modules, the property, and both values.
    """
    if not parts:
        raise ComposeError("there is nothing to compose: no modules were given")
    seen: dict[str, Part] = {}
    for part in parts:
        manifest = part.package.manifest
        if manifest.kind == "base":
            raise ComposeError(f"{part.label} is a base, not a module: ask for one of its modules")
        _check_input(parts[0], part)
        for label in manifest.classes:
            if label.name in seen:
                other = seen[label.name].label
                raise ComposeError(f"{other} and {part.label} both score the class {label.name!r}: keep one of them")
            seen[label.name] = part
    _check_calibration(parts)


def _check_input(first: Part, part: Part) -> None:
    expected, found = first.package.manifest.input, part.package.manifest.input
    if found.key() != expected.key():
        raise ComposeError(f"{first.label} and {part.label} take different inputs: {expected} and {found}")


def _check_calibration(parts: Sequence[Part]) -> None:
    if len(set().union(*(part.parents for part in parts))) < 2:
        return
    for part in parts:
        if not part.is_calibrated:
            raise ComposeError(f"{part.label} has no calibrated score, so it cannot be compared with another parent's")
