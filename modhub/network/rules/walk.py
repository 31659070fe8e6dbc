"""One pass over a network that follows units from layer to layer.

A value carries *factors*. A factor says how units lie along one or more axes: element ``units[i, j]`` is the unit of
every position whose index along the factor's axes is ``(i, j)``. Most factors lie along one axis. Several axes occur
where a reshape splits channels, into heads and features for example; only one of them can be cut in the end, and which
one is decided as late as possible: where an operator mixes an axis, or when the whole network has been seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from modhub.network.network import BATCH
from modhub.network.shapes import BATCH_PRIME
from modhub.network.units import ArrayUse, Gate, UnitTable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from modhub.network.network import Network, Node, Shape
    from modhub.network.units import Units

Axes: TypeAlias = "list[Units | None]"
Rule: TypeAlias = "Callable[[Walk, int, Node], None]"

BATCH_ROWS = 11
"""How long the batch is taken to be in arrays of units; units never depend on the position along it."""


@dataclass(frozen=True)
class Factor:
    """How units lie along some axes of a value: `units` has one dimension per axis, in the order of `axes`."""

    axes: tuple[int, ...]
    units: Units

    def moved(self, places: dict[int, int]) -> Factor:
        """Return the factor with each axis at its new place, in ascending order again."""
        axes = [places[axis] for axis in self.axes]
        order = sorted(range(len(axes)), key=axes.__getitem__)
        return Factor(tuple(axes[i] for i in order), self.units.transpose(order))

    def without_constant_axes(self, units: Units | None = None) -> Factor:
        """Return the factor along only those axes where units differ; at least one stays."""
        units = self.units if units is None else units
        varying = varying_axes(units) or (0,)
        index = tuple(slice(None) if axis in varying else 0 for axis in range(units.ndim))
        return Factor(tuple(self.axes[axis] for axis in varying), units[index])


def varying_axes(units: Units) -> tuple[int, ...]:
    """Return the axes along which an array is not constant."""
    return tuple(axis for axis in range(units.ndim) if (units != units.take([0], axis=axis)).any())


@dataclass
class Walk:
    """What is known while following units through a network in topological order.

    `whole` names axes of values that are better not cut, because a single position of theirs is taken.
    """

    network: Network
    shapes: dict[str, Shape]
    table: UnitTable = field(default_factory=UnitTable)
    factors: dict[str, tuple[Factor, ...]] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)
    whole: dict[str, set[int]] = field(default_factory=dict)

    def is_array(self, value: str) -> bool:
        """Tell whether a value is a constant array."""
        return value in self.network.arrays

    def rank(self, value: str) -> int:
        """Return the number of axes of a value."""
        return len(self.shapes[value])

    def sizes(self, value: str, *, batch: int = BATCH_ROWS) -> tuple[int, ...]:
        """Return the shape of a value for a batch of some size."""
        return tuple(size if isinstance(size, int) else batch * _multiple(size) for size in self.shapes[value])

    def factors_of(self, value: str) -> tuple[Factor, ...]:
        """Return the factors of a value; arrays and the network's input have none."""
        return self.factors.get(value, ())

    def axes_of(self, value: str, *, mixed: Collection[int] = ()) -> Axes:
        """Return the units along each axis of a value, after deciding for one axis per factor.

        Where a factor lies along several, it is the outermost that is not in `mixed`; the others are tied.
        """
        factors = tuple(self._settled(factor, mixed) for factor in self.factors_of(value))
        self.factors[value] = factors
        result: Axes = [None] * self.rank(value)
        for factor in factors:
            result[factor.axes[0]] = factor.units
        return result

    def only(self, value: str, axis: int, reason: str) -> Units | None:
        """Return the units along one axis of a value; units along any other axis are pinned."""
        axes = self.axes_of(value, mixed=set(range(self.rank(value))) - {axis})
        self.pin_axes((units for other, units in enumerate(axes) if other != axis), reason)
        return axes[axis]

    def put(self, value: str, axes: Axes) -> None:
        """Set the units along each axis of a value."""
        self.factors[value] = tuple(Factor((axis,), units) for axis, units in enumerate(axes) if units is not None)

    def pin(self, value: str, reason: str) -> None:
        """Forbid cutting whatever reaches a value."""
        self.pin_axes((factor.units for factor in self.factors_of(value)), reason)

    def pin_axes(self, axes: Iterable[Units | None], reason: str) -> None:
        """Forbid cutting some units."""
        for units in axes:
            if units is not None:
                self.table.pin(np.unique(units).tolist(), reason)

    def read(self, index: int, operand: int, axis: int, units: Units | None) -> None:
        """Record that a node reads units along an axis of an input and mixes them."""
        if units is not None:
            self.table.gates.append(Gate(node=index, operand=operand, axis=axis, units=units))

    def use(self, index: int, array: str, axis: int, units: Units, *, role: str) -> None:
        """Record that positions along an array's axis belong to units."""
        self.table.use_array(ArrayUse(node=index, array=array, axis=axis, units=units, role=role))

    def settle_all(self) -> None:
        """Decide for one axis per factor everywhere: the one with the most units, where the network leaves a choice."""
        first = sorted(self.factors, key=lambda value: value not in self.whole)
        while sum(self._tie_all_but_longest(value, factor) for value in first for factor in self.factors[value]):
            pass
        for value in self.factors:
            self.axes_of(value)

    def _tie_all_but_longest(self, value: str, factor: Factor) -> bool:
        """Tie a factor along all axes but one; returns whether that changed anything."""
        varying = varying_axes(self.table.roots(factor.units)) if len(factor.axes) > 1 else ()
        if len(varying) < 2:
            return False
        whole = self.whole.get(value, set())
        free = [axis for axis in varying if factor.axes[axis] not in whole] or varying
        self._tie(factor.units, max(free, key=lambda axis: factor.units.shape[axis]))
        return True

    def _settled(self, factor: Factor, mixed: Collection[int]) -> Factor:
        if len(factor.axes) == 1:
            return factor
        varying = varying_axes(self.table.roots(factor.units)) or tuple(range(len(factor.axes)))
        chosen = next((axis for axis in varying if factor.axes[axis] not in mixed), varying[0])
        self._tie(factor.units, chosen)
        first = tuple(slice(None) if axis == chosen else 0 for axis in range(factor.units.ndim))
        return Factor((factor.axes[chosen],), factor.units[first])

    def _tie(self, units: Units, kept: int) -> None:
        rows = np.moveaxis(units, kept, 0).reshape(units.shape[kept], -1)
        for column in range(1, rows.shape[1]):
            self.table.unite(rows[:, 0], rows[:, column])


def _multiple(symbol: str) -> int:
    return int(symbol.partition("*")[2] or 1)


def groups_of_axes(walk: Walk, before: str, after: str) -> list[tuple[list[int], list[int]]]:
    """Return which axes of a reshaped value become which: runs of equal size, in order.

    Axes of length one at the end of either shape belong to the last run.
    """
    source, target = (walk.sizes(value, batch=BATCH_PRIME) for value in (before, after))
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(source) or j < len(target):
        left, right = list(range(i, min(i + 1, len(source)))), list(range(j, min(j + 1, len(target))))
        while (sizes := _products(source, left, target, right))[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                left.append(i + len(left))
            else:
                right.append(j + len(right))
        if groups and not (left and right):
            left, right = groups[-1][0] + left, groups[-1][1] + right
            groups.pop()
        groups.append((left, right))
        i, j = sum(len(axes) for axes, _ in groups), sum(len(axes) for _, axes in groups)
    return groups


def _products(source: tuple[int, ...], left: list[int], target: tuple[int, ...], right: list[int]) -> tuple[int, int]:
    return math.prod(source[axis] for axis in left), math.prod(target[axis] for axis in right)


def is_batch(size: int | str) -> bool:
    """Tell whether a dimension is the batch alone."""
    return size == BATCH
