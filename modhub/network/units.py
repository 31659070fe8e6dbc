"""The bookkeeping behind sites: which positions of which arrays stand for the same channel.

Each cuttable position of each axis is a *unit*, an integer. Operators that force two positions to be kept or cut
together unite their units (union-find). What has to be rewritten when units are dropped is recorded as *uses*: slices
of arrays, sizes and positions inside integer arrays, attributes, and branches that are scattered onto a residual
stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

Units = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ArrayUse:
    """Position `i` along `axis` of `array` belongs to unit ``units[i]``.

    `role` is ``row`` for what makes the unit (weights and biases of its layer), ``column`` for what reads it, and
    ``element`` for constants that pass it on.
    """

    node: int
    array: str
    axis: int
    units: Units
    role: str


@dataclass(frozen=True, kw_only=True)
class SizeUse:
    """Element `index` of the integer array that is input `operand` of a node is the number of kept `units`."""

    node: int
    operand: int
    index: int
    units: Units


@dataclass(frozen=True, kw_only=True)
class IndexUse:
    """The integer array that is input `operand` of a node holds positions in an axis whose units are `units`."""

    node: int
    operand: int
    units: Units


@dataclass(frozen=True, kw_only=True)
class AttributeUse:
    """The node's integer attribute is the number of kept `units`."""

    node: int
    attribute: str
    units: Units


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Input `operand` of a node reads `units` along `axis`: zeros there equal removal, whatever lies between."""

    node: int
    operand: int
    axis: int
    units: Units


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """An addition reads a branch along `axis` and puts it onto a stream.

    Branch position `i` lands on stream position `i`. A dropped branch unit adds zero. `stream` is None where the
    stream's axis cannot be cut.
    """

    node: int
    operand: int
    axis: int
    branch: Units
    stream: Units | None


@dataclass
class UnitTable:
    """Units, which of them are one, which may never be cut and why, and every use of them.

    `origin` tells for each unit the node that opened it and the array or value whose positions it numbers.
    """

    parent: list[int] = field(default_factory=list)
    origin: list[tuple[int, str]] = field(default_factory=list)
    pinned: dict[int, str] = field(default_factory=dict)
    arrays: dict[tuple[str, int], list[ArrayUse]] = field(default_factory=dict)
    sizes: list[SizeUse] = field(default_factory=list)
    indices: list[IndexUse] = field(default_factory=list)
    attributes: list[AttributeUse] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    scatters: list[Scatter] = field(default_factory=list)

    def open(self, count: int, *, node: int, name: str) -> Units:
        """Return `count` new units that a node makes from an array or value, in the order of its positions."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        self.origin.extend([(node, name)] * count)
        return np.arange(start, start + count, dtype=np.int64)

    def find(self, unit: int) -> int:
        """Return the representative of a unit: the earliest opened one of its set."""
        root = unit
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[unit] != root:
            self.parent[unit], unit = root, self.parent[unit]
        return root

    def roots(self, units: Units) -> Units:
        """Return the representative of each unit, in an array of the same shape."""
        flat = np.array([self.find(unit) for unit in units.ravel().tolist()], dtype=np.int64)
        return flat.reshape(units.shape)

    def unite(self, first: Units, second: Units) -> None:
        """Make units at equal positions one."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self.parent[high] = low

    def pin(self, units: Iterable[int], reason: str) -> None:
        """Forbid cutting these units; the first reason given is the one reported."""
        for unit in units:
            self.pinned.setdefault(int(unit), reason)

    def use_array(self, use: ArrayUse) -> None:
        """Record a slice; an array that two nodes share must be cut the same way for both."""
        uses = self.arrays.setdefault((use.array, use.axis), [])
        if uses:
            self.unite(uses[0].units, use.units)
        uses.append(use)

    def array_uses(self) -> list[ArrayUse]:
        """Return all slices in the order of their nodes."""
        return sorted((use for uses in self.arrays.values() for use in uses), key=lambda use: use.node)
