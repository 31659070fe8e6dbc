"""Can these parts stand side by side, and how?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.composer.adapters import needed
from modhub.composer.sources import has_masks
from modhub.errors import ComposeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.composer.part import Part
    from modhub.spec.manifest import Metric
    from modhub.spec.ports import InputPort

STRATEGIES = ("auto", "trunk", "parallel", "union")
TOGETHER, UNION = "composed_accuracy", "union_accuracy"
"""Metrics of a module that were measured of all modules of its collection: side by side, and as their union."""


def choose_strategy(parts: Sequence[Part], wish: str) -> tuple[str, str]:
    """Return the strategy taken and why, in a sentence.

    Raises:
        ComposeError: the wish is unknown, or ``trunk`` or ``union`` is asked for modules of several parents.
    """
    if wish not in STRATEGIES:
        raise ComposeError(f"there is no strategy {wish!r}; the strategies are {', '.join(STRATEGIES)}")
    parents: set[str] = set().union(*(part.parents for part in parts))
    if wish == "parallel":
        return "parallel", "asked for"
    if len(parents) == 1:
        return _within_a_parent(parts, wish)
    if wish in ("trunk", "union"):
        shared = "trunk" if wish == "trunk" else "weights"
        raise ComposeError(
            f"the modules come from {len(parents)} parents and share no {shared}: use 'parallel' or 'auto'"
        )
    return "parallel", f"the modules come from {len(parents)} parents and run side by side"


def _within_a_parent(parts: Sequence[Part], wish: str) -> tuple[str, str]:
    if wish == "union":
        return "union", "asked for: one network with what any of the modules keeps"
    together, union = together_metric(parts, TOGETHER), together_metric(parts, UNION)
    is_better = union is not None and together is not None and union.value >= together.value
    if wish == "auto" and is_better and len(parts) > 1 and all(map(has_masks, parts)) and union and together:
        told = f"{100 * union.value:.1f} % of the {union.split or 'measured'} data right, side by side they get"
        return "union", f"the modules of this collection get {told} {100 * together.value:.1f} %"
    return "trunk", "all modules come from one parent, so what they share runs once"


def together_metric(parts: Sequence[Part], name: str) -> Metric | None:
    """Return what was measured of all modules of a collection, where all parts say the same."""
    found = [part.package.manifest.metrics.get(name) for part in parts]
    return found[0] if all(metric == found[0] for metric in found) else None


def check_fit(parts: Sequence[Part], *, calibrating: bool = False, adapting: bool = False) -> None:
    """Check that the parts can stand side by side; raw scores of several parents only if they are to be calibrated.

    Other inputs than the first part's will do if they are to be adapted.

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
        if not adapting:
            _check_input(parts[0], part)
        for label in manifest.classes:
            if label.name in seen:
                other = seen[label.name].label
                raise ComposeError(f"{other} and {part.label} both score the class {label.name!r}: keep one of them")
            seen[label.name] = part
    _check_precision(parts)
    if not calibrating:
        _check_calibration(parts)


def _check_input(first: Part, part: Part) -> None:
    expected, found = first.package.manifest.input, part.package.manifest.input
    if found.key() != expected.key():
        problem = f"{first.label} and {part.label} take different inputs: {expected} and {found}"
        raise ComposeError(f"{problem}{_adapters(expected, found)}")


def _adapters(expected: InputPort, found: InputPort) -> str:
    """Return what could be declared to adapt one input to the other, as a message goes on."""
    try:
        kinds = needed(expected, found)
    except ComposeError:
        return ""
    return f"; declare what may be done to the second one's: {', '.join(kinds)}" if kinds else ""


def _check_precision(parts: Sequence[Part]) -> None:
    """Check that modules of one parent have one precision: they would share no trunk, and nobody would be told."""
    first: dict[str, Part] = {}
    for part in parts:
        for parent in part.parents:
            other = first.setdefault(parent, part)
            if other.precision != part.precision:
                values = f"{other.label} is {other.precision}, {part.label} is {part.precision}"
                raise ComposeError(f"modules of one parent are composed in one precision: {values}")


def _check_calibration(parts: Sequence[Part]) -> None:
    if len(set().union(*(part.parents for part in parts))) < 2:
        return
    for part in parts:
        if not part.is_calibrated:
            problem = f"{part.label} has no calibrated score, so it cannot be compared with another parent's"
            raise ComposeError(f"{problem}: calibrate them on data")
