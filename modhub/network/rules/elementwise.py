"""Operators that work position by position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.network.rules.walk import Factor
from modhub.network.units import Gate, Scatter

if TYPE_CHECKING:
    from modhub.network.network import Node
    from modhub.network.rules.walk import Axes, Rule, Walk
    from modhub.network.units import Units

POINTWISE = frozenset(
    "Relu LeakyRelu Elu Selu Celu ThresholdedRelu Clip Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Mish "
    "Erf Abs Neg Exp Log Sqrt Reciprocal Sign Floor Ceil Round Identity Cast Dropout Not".split()
)
BROADCAST = frozenset("Add Sub Mul Div Pow Min Max Mean Sum PRelu Where Equal Less Greater And Or Mod".split())


def pointwise(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Positions stay where they are."""
    walk.factors[node.outputs[0]] = walk.factors_of(node.inputs[0])


def broadcast(walk: Walk, index: int, node: Node) -> None:
    """Positions that meet are one, except that an addition may scatter a branch onto a stream."""
    rank = walk.rank(node.outputs[0])
    shared = _shared_factors(walk, node)
    single: Axes = [None] * rank
    for axis in range(rank):
        carriers = [(i, units) for i, units in _carriers(walk, node, axis, rank) if units is not None]
        if carriers:
            single[axis] = _meet(walk, index, node, axis, carriers)
    walk.put(node.outputs[0], single)
    walk.factors[node.outputs[0]] += shared


def _aligned(walk: Walk, node: Node, operand: int) -> list[Factor]:
    """Return the factors of an operand along the axes of the result."""
    name = node.inputs[operand]
    offset = walk.rank(node.outputs[0]) - walk.rank(name)
    return [Factor(tuple(axis + offset for axis in f.axes), f.units) for f in walk.factors_of(name)]


def _size(walk: Walk, node: Node, operand: int, axis: int) -> int | str:
    """Return how long an operand is along an axis of the result; one where it broadcasts."""
    shape = walk.shapes[node.inputs[operand]] if node.inputs[operand] else ()
    own = axis - (walk.rank(node.outputs[0]) - len(shape))
    return shape[own] if own >= 0 else 1


def _shared_factors(walk: Walk, node: Node) -> tuple[Factor, ...]:
    """Return the factors along several axes if they can pass undecided; else decide for one axis each.

    They can pass where every other operand has the same factor, which is tied to it, or broadcasts along it.
    """
    operands = [i for i, name in enumerate(node.inputs) if name]
    found: dict[tuple[int, ...], Units] = {}
    for i in operands:
        for factor in _aligned(walk, node, i):
            if len(factor.axes) == 1:
                continue
            if not all(j == i or _fits(walk, node, j, factor) for j in operands):
                for name in node.inputs:
                    if name:
                        walk.axes_of(name)
                return ()
            if factor.axes in found:
                walk.table.unite(found[factor.axes].ravel(), factor.units.ravel())
            found.setdefault(factor.axes, factor.units)
    return tuple(Factor(axes, units) for axes, units in found.items())


def _fits(walk: Walk, node: Node, operand: int, factor: Factor) -> bool:
    if all(_size(walk, node, operand, axis) == 1 for axis in factor.axes):
        return True
    return any(other.axes == factor.axes for other in _aligned(walk, node, operand))


def _carriers(walk: Walk, node: Node, axis: int, rank: int) -> list[tuple[int, Units | None]]:
    """Return the units that each operand brings along one axis of the result."""
    found: list[tuple[int, Units | None]] = []
    for i, name in enumerate(node.inputs):
        own = axis - (rank - walk.rank(name)) if name else -1
        units = next((f.units for f in walk.factors_of(name) if f.axes == (own,)), None)
        found.append((i, units))
    return found


def _meet(walk: Walk, index: int, node: Node, axis: int, carriers: list[tuple[int, Units]]) -> Units | None:
    """Return the units of the result along an axis, given those that operands bring."""
    units = [found for _, found in carriers]
    full = [i for i, name in enumerate(node.inputs) if name and _size(walk, node, i, axis) != 1]
    bare = [i for i in full if all(i != carrier for carrier, _ in carriers)]
    _use_elements(walk, index, node, axis, units[0], [i for i in bare if walk.is_array(node.inputs[i])])
    if any(not walk.is_array(node.inputs[i]) for i in bare):
        if len(carriers) == 1 and _can_scatter(walk, node, axis, carriers[0]):
            _scatter(walk, index, node, carriers[0], axis, stream=None)
        else:
            walk.pin_axes(units, f"{node.label} joins it with an axis that cannot be cut")
        return None
    if len(carriers) == 2 and not np.array_equal(walk.table.roots(units[0]), walk.table.roots(units[1])):
        branch, stream = sorted(carriers, key=lambda c: -walk.depth.get(node.inputs[c[0]], 0))
        if _can_scatter(walk, node, axis, branch):
            _scatter(walk, index, node, branch, axis, stream=stream[1])
            return stream[1]
    for other in units[1:]:
        walk.table.unite(units[0], other)
    return units[0]


def _use_elements(walk: Walk, index: int, node: Node, axis: int, units: Units, operands: list[int]) -> None:
    for i in operands:
        own = axis - (walk.rank(node.outputs[0]) - walk.rank(node.inputs[i]))
        walk.use(index, node.inputs[i], own, units, role="element")


def _can_scatter(walk: Walk, node: Node, axis: int, branch: tuple[int, Units]) -> bool:
    """Tell whether a product with a matrix can put the branch onto the stream: along channels, or the last axis."""
    operand, units = branch
    rank = walk.rank(node.inputs[operand])
    own = axis - (walk.rank(node.outputs[0]) - rank)
    fixed = isinstance(walk.shapes[node.inputs[operand]][own], int)
    return node.op == "Add" and len(units) > 1 and fixed and rank > 1 and own in (1, rank - 1)


def _scatter(walk: Walk, index: int, node: Node, branch: tuple[int, Units], axis: int, *, stream: Units | None) -> None:
    operand, units = branch
    own = axis - (walk.rank(node.outputs[0]) - walk.rank(node.inputs[operand]))
    walk.table.scatters.append(Scatter(node=index, operand=operand, axis=own, branch=units, stream=stream))
    walk.table.gates.append(Gate(node=index, operand=operand, axis=own, units=units))


RULES: dict[str, Rule] = {**dict.fromkeys(POINTWISE, pointwise), **dict.fromkeys(BROADCAST, broadcast)}
