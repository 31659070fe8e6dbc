"""What each operator means for units: which axes carry them on, which tie, open, read or mix them.

A rule gets a `Walk` and a node; it sets the units of the node's outputs per axis (None where an axis carries none). An
operator without a rule pins every unit that reaches it: it is never cut, and the report says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from modhub.network.units import ArrayUse, AttributeUse, Gate, Scatter, SizeUse, Units, UnitTable

if TYPE_CHECKING:
    from modhub.network.network import Network, Node, Shape

Axes: TypeAlias = "list[Units | None]"
Rule: TypeAlias = "Callable[[Walk, int, Node], None]"

POINTWISE = frozenset(
    "Relu LeakyRelu Elu Selu Celu ThresholdedRelu Clip Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Mish "
    "Erf Abs Neg Exp Log Sqrt Reciprocal Sign Floor Ceil Round Identity Cast Dropout".split()
)
BROADCAST = frozenset("Add Sub Mul Div Pow Min Max Mean Sum PRelu Where Equal Less Greater And Or".split())
POOLING = frozenset("MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool".split())
REDUCTIONS = frozenset(
    "ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp".split()
)


@dataclass
class Walk:
    """One pass over a network in topological order."""

    network: Network
    shapes: dict[str, Shape]
    table: UnitTable = field(default_factory=UnitTable)
    axes: dict[str, Axes] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)

    def of(self, value: str) -> Axes:
        """Return the units of each axis of a value; arrays and the network's input carry none."""
        return self.axes.get(value) or [None] * len(self.shapes[value])

    def is_array(self, value: str) -> bool:
        """Tell whether a value is a constant array."""
        return value in self.network.arrays

    def pin(self, value: str, reason: str) -> None:
        """Forbid cutting whatever reaches this value."""
        for units in self.of(value):
            if units is not None:
                self.table.pin(units, reason)

    def read(self, index: int, operand: int, axis: int) -> Units | None:
        """Record that a node reads an axis and mixes its positions; returns the units, if any."""
        units = self.of(self.network.nodes[index].inputs[operand])[axis]
        if units is not None:
            self.table.gates.append(Gate(node=index, operand=operand, axis=axis, units=units))
        return units

    def use(self, index: int, array: str, axis: int, units: Units, *, role: str) -> None:
        """Record that positions along an array's axis belong to units."""
        self.table.use_array(ArrayUse(node=index, array=array, axis=axis, units=units, role=role))


def apply_rule(walk: Walk, index: int) -> None:
    """Run the rule of one node, or pin what reaches it."""
    node = walk.network.nodes[index]
    walk.depth.update(dict.fromkeys(node.outputs, 1 + max((walk.depth.get(name, 0) for name in node.inputs), default=0)))
    rule = RULES.get(node.op, pin_all)
    rule(walk, index, node)


def pin_all(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """No rule for the operator: nothing that reaches it may be cut."""
    for name in node.inputs:
        if name:
            walk.pin(name, f"{node.label} has no rule for cutting")


def pointwise(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Positions stay where they are."""
    walk.axes[node.outputs[0]] = list(walk.of(node.inputs[0]))


def pooling(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Channels stay apart; spatial axes are mixed and carry no units anyway."""
    units = walk.of(node.inputs[0])
    rank = len(walk.shapes[node.outputs[0]])
    for axis in units[2:]:
        if axis is not None:
            walk.table.pin(axis, f"{node.label} mixes it")
    for name in node.outputs:
        if name:
            walk.axes[name] = [*units[:2], *[None] * (rank - 2)]


def convolution(walk: Walk, index: int, node: Node) -> None:
    """Reads input channels as columns and opens its output channels; depthwise passes channels on."""
    groups = node.integer("group", 1)
    value, weight = node.inputs[:2]
    if not walk.is_array(weight):
        pin_all(walk, index, node)
        return
    rows, columns = walk.network.arrays[weight].shape[:2]
    if groups == 1:
        units = walk.read(index, 0, 1)
        if units is not None:
            walk.use(index, weight, 1, units, role="column")
        opened = walk.table.open(rows, node=index)
    elif columns == 1 and walk.of(value)[1] is not None:
        incoming = walk.of(value)[1]
        assert incoming is not None
        opened = np.repeat(incoming, rows // groups)
        walk.table.attributes.append(AttributeUse(node=index, attribute="group", units=incoming))
    else:
        walk.pin(value, f"{node.label} is a grouped convolution with {groups} groups")
        return
    _make_rows(walk, index, node, opened, rank=len(walk.shapes[node.outputs[0]]), axis=1)


def gemm(walk: Walk, index: int, node: Node) -> None:
    """Reads the features of a row and opens its outputs."""
    weight = node.inputs[1]
    bias_ok = len(node.inputs) < 3 or not node.inputs[2] or walk.is_array(node.inputs[2])
    if not walk.is_array(weight) or node.integer("transB", 0) != 1 or node.integer("transA", 0) or not bias_ok:
        pin_all(walk, index, node)
        return
    units = walk.read(index, 0, 1)
    if units is not None:
        walk.use(index, weight, 1, units, role="column")
    _make_rows(walk, index, node, walk.table.open(walk.network.arrays[weight].shape[0], node=index), rank=2, axis=1)


def _make_rows(walk: Walk, index: int, node: Node, units: Units, *, rank: int, axis: int) -> None:
    walk.use(index, node.inputs[1], 0, units, role="row")
    if len(node.inputs) > 2 and node.inputs[2]:
        walk.use(index, node.inputs[2], 0, units, role="row")
    result: Axes = [None] * rank
    result[axis] = units
    walk.axes[node.outputs[0]] = result


def matmul(walk: Walk, index: int, node: Node) -> None:
    """With a constant matrix: a layer over the last axis. Between two values: contracts one axis of each."""
    first, second = node.inputs
    if walk.is_array(second) and walk.network.arrays[second].ndim == 2:
        axis = len(walk.shapes[first]) - 1
        units = walk.read(index, 0, axis)
        if units is not None:
            walk.use(index, second, 0, units, role="column")
        opened = walk.table.open(walk.network.arrays[second].shape[1], node=index)
        walk.use(index, second, 1, opened, role="row")
        walk.axes[node.outputs[0]] = [*walk.of(first)[:-1], opened]
    elif not walk.is_array(first) and not walk.is_array(second) and len(walk.shapes[first]) == len(walk.shapes[second]):
        _product(walk, index, node)
    else:
        pin_all(walk, index, node)


def _product(walk: Walk, index: int, node: Node) -> None:
    first, second = (walk.of(name) for name in node.inputs)
    if len(first) < 3:
        pin_all(walk, index, node)
        return
    left, right = walk.read(index, 0, len(first) - 1), walk.read(index, 1, len(second) - 2)
    if left is not None and right is not None:
        walk.table.unite(left, right)
    else:
        _pin_axes(walk, (left, right), f"{node.label} contracts it with an axis that cannot be cut")
    leading: Axes = []
    for a, b in zip(first[:-2], second[:-2], strict=True):
        if a is not None and b is not None:
            walk.table.unite(a, b)
        elif a is not None or b is not None:
            _pin_axes(walk, (a, b), f"{node.label} repeats it along an axis that cannot be cut")
            a = None
        leading.append(a)
    walk.axes[node.outputs[0]] = [*leading, first[-2], second[-1]]


def _pin_axes(walk: Walk, axes: tuple[Units | None, ...], reason: str) -> None:
    for units in axes:
        if units is not None:
            walk.table.pin(units, reason)


def broadcast(walk: Walk, index: int, node: Node) -> None:
    """Positions that meet are one, except that an addition may scatter a branch onto a stream."""
    rank = len(walk.shapes[node.outputs[0]])
    result: Axes = [None] * rank
    for axis in range(rank):
        carriers = [(i, units) for i, units in _aligned(walk, node, axis, rank) if units is not None]
        if carriers:
            result[axis] = _meet(walk, index, node, axis, carriers)
    walk.axes[node.outputs[0]] = result


def _aligned(walk: Walk, node: Node, axis: int, rank: int) -> list[tuple[int, Units | None]]:
    """Return the units that each operand brings to an axis of the result."""
    found: list[tuple[int, Units | None]] = []
    for i, name in enumerate(node.inputs):
        own = axis - (rank - len(walk.shapes[name])) if name else -1
        found.append((i, walk.of(name)[own] if own >= 0 else None))
    return found


def _meet(walk: Walk, index: int, node: Node, axis: int, carriers: list[tuple[int, Units]]) -> Units | None:
    rank = len(walk.shapes[node.outputs[0]])
    size = len(carriers[0][1])
    whole = []  # Computed operands that bring a full axis without units.
    for i, name in enumerate(node.inputs):
        own = axis - (rank - len(walk.shapes[name])) if name else -1
        if own < 0 or walk.shapes[name][own] == 1 or any(i == carrier for carrier, _ in carriers):
            continue
        if walk.is_array(name):
            walk.use(index, name, own, carriers[0][1], role="element")
        else:
            whole.append(i)
    untie = node.op == "Add" and size > 1
    if whole:
        if untie and len(carriers) == 1:
            _scatter(walk, index, node, carriers[0], axis, stream=None)
        else:
            _pin_axes(walk, tuple(units for _, units in carriers), f"{node.label} adds an axis that cannot be cut")
        return None
    if untie and len(carriers) == 2 and not _same(walk, carriers):
        branch, stream = sorted(carriers, key=lambda c: -walk.depth.get(node.inputs[c[0]], 0))
        _scatter(walk, index, node, branch, axis, stream=stream[1])
        return stream[1]
    for _, units in carriers[1:]:
        walk.table.unite(carriers[0][1], units)
    return carriers[0][1]


def _same(walk: Walk, carriers: list[tuple[int, Units]]) -> bool:
    return bool(np.array_equal(walk.table.roots(carriers[0][1]), walk.table.roots(carriers[1][1])))


def _scatter(
    walk: Walk, index: int, node: Node, branch: tuple[int, Units], axis: int, *, stream: Units | None
) -> None:
    operand, units = branch
    own = axis - (len(walk.shapes[node.outputs[0]]) - len(walk.shapes[node.inputs[operand]]))
    walk.table.scatters.append(Scatter(node=index, operand=operand, axis=own, branch=units, stream=stream))
    walk.table.gates.append(Gate(node=index, operand=operand, axis=own, units=units))


def reduction(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Reduced axes vanish; units on one of them would be mixed, so they are pinned."""
    units = walk.of(node.inputs[0])
    rank = len(units)
    constant = len(node.inputs) > 1 and node.inputs[1] and walk.is_array(node.inputs[1])
    chosen = walk.network.arrays[node.inputs[1]].tolist() if constant else range(rank)
    reduced = {int(axis) % rank for axis in chosen}
    keep = node.integer("keepdims", 1)
    result: Axes = []
    for axis, found in enumerate(units):
        if axis not in reduced:
            result.append(found)
            continue
        if found is not None:
            walk.table.pin(found, f"{node.label} mixes it")
        if keep:
            result.append(None)
    walk.axes[node.outputs[0]] = result


def normalisation(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Softmax and its kin mix one axis (and layer-norm every axis after it): units there are pinned."""
    units = walk.of(node.inputs[0])
    rank = len(units)
    first = node.integer("axis", -1) % rank
    mixed = range(first, rank) if node.op == "LayerNormalization" else (first,)
    for axis in mixed:
        found = units[axis]
        if found is not None:
            walk.table.pin(found, f"{node.label} normalises over it")
    result = [None if axis in mixed else found for axis, found in enumerate(units)]
    walk.axes[node.outputs[0]] = result


def transpose(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Axes change places."""
    units = walk.of(node.inputs[0])
    order = node.ints("perm", tuple(reversed(range(len(units)))))
    walk.axes[node.outputs[0]] = [units[axis] for axis in order]


def reshape(walk: Walk, index: int, node: Node) -> None:
    """Units follow their positions into the new axes.

    An axis of the result carries units where position along it alone decides the unit. Where two axes do (splitting
    channels into heads and features), whole rows of the outermost are tied: a head is kept or cut as one.
    """
    source, target = walk.shapes[node.inputs[0]], walk.shapes[node.outputs[0]]
    units = walk.of(node.inputs[0])
    carrying = [axis for axis, found in enumerate(units) if found is not None]
    walk.axes[node.outputs[0]] = [None] * len(target)
    if not carrying:
        return
    if len(carrying) > 1 or not _batch_stays(source, target):
        walk.pin(node.inputs[0], f"{node.label} moves it in a way that cannot be followed")
        return
    axis = carrying[0]
    found = units[axis]
    assert found is not None
    inner = [int(size) for size in source[1:]]
    grid = np.arange(len(found)).reshape([-1 if a == axis - 1 else 1 for a in range(len(inner))])
    positions = np.broadcast_to(grid, inner).reshape([int(size) for size in target[1:]])
    varying = [a for a in range(positions.ndim) if not (positions == positions.take([0], axis=a)).all()]
    if not varying:
        varying = [next((a for a in range(positions.ndim) if positions.shape[a] == len(found)), 0)]
    outer = varying[0]
    flat = np.moveaxis(positions, outer, 0).reshape(positions.shape[outer], -1)
    for other in range(1, flat.shape[1]):
        if not np.array_equal(flat[:, other], flat[:, 0]):
            walk.table.unite(found[flat[:, 0]], found[flat[:, other]])
    carried = found[flat[:, 0]]
    walk.axes[node.outputs[0]][outer + 1] = carried
    _resize_target(walk, index, node, outer + 1, carried)


def _batch_stays(source: Shape, target: Shape) -> bool:
    numbers = all(isinstance(size, int) for size in (*source[1:], *target[1:]))
    return numbers and bool(source) and bool(target) and source[0] == target[0]


def _resize_target(walk: Walk, index: int, node: Node, axis: int, units: Units) -> None:
    """Record the element of a reshape's constant target that counts the kept units."""
    if node.op != "Reshape":
        return
    target = walk.network.arrays.get(node.inputs[1])
    if target is None:
        walk.table.pin(units, f"{node.label} has a computed target")
    elif int(target[axis]) > 0:
        walk.table.sizes.append(SizeUse(node=index, array=node.inputs[1], index=axis, units=units))


def squeeze(walk: Walk, index: int, node: Node) -> None:
    """Axes of size one appear or vanish."""
    units = walk.of(node.inputs[0])
    rank = max(len(units), len(walk.shapes[node.outputs[0]]))
    constant = len(node.inputs) > 1 and walk.is_array(node.inputs[1])
    if not constant:
        pin_all(walk, index, node)
        return
    axes = {int(axis) % rank for axis in walk.network.arrays[node.inputs[1]].tolist()}
    if node.op == "Squeeze":
        result = [found for axis, found in enumerate(units) if axis not in axes]
    else:
        remaining = iter(units)
        result = [None if axis in axes else next(remaining) for axis in range(rank)]
    walk.axes[node.outputs[0]] = result


def concat(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Along its axis, positions line up one operand after the other; elsewhere they meet."""
    rank = len(walk.shapes[node.outputs[0]])
    along = node.integer("axis", 1) % rank
    parts = [walk.of(name) for name in node.inputs]
    result: Axes = [None] * rank
    for axis in range(rank):
        found = [part[axis] for part in parts]
        present = [units for units in found if units is not None]
        if not present:
            continue
        if len(present) < len(found):
            _pin_axes(walk, tuple(present), f"{node.label} joins it with an axis that cannot be cut")
        elif axis == along:
            result[axis] = np.concatenate(present)
        else:
            for units in present[1:]:
                walk.table.unite(present[0], units)
            result[axis] = present[0]
    walk.axes[node.outputs[0]] = result


def local(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Slicing, padding and resizing keep the axes they do not touch; units on a touched axis are pinned."""
    units, before, after = walk.of(node.inputs[0]), walk.shapes[node.inputs[0]], walk.shapes[node.outputs[0]]
    result: Axes = []
    for axis, found in enumerate(units):
        if found is not None and before[axis] != after[axis]:
            walk.table.pin(found, f"{node.label} takes part of it")
            result.append(None)
        else:
            result.append(found)
    if node.op == "Slice":
        _pin_reordered(walk, node, result)
    walk.axes[node.outputs[0]] = result


def _pin_reordered(walk: Walk, node: Node, result: Axes) -> None:
    """A slice with a negative step keeps the size but reverses the order."""
    steps = walk.network.arrays.get(node.inputs[4]) if len(node.inputs) > 4 else None
    if steps is not None and (steps < 0).any():
        for axis, units in enumerate(result):
            if units is not None:
                walk.table.pin(units, f"{node.label} reverses it")
                result[axis] = None


RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE, pointwise),
    **dict.fromkeys(BROADCAST, broadcast),
    **dict.fromkeys(POOLING, pooling),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LayerNormalization"), normalisation),
    **dict.fromkeys(("Slice", "Pad", "Resize", "Expand"), local),
    **dict.fromkeys(("Reshape", "Flatten"), reshape),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), squeeze),
    "Conv": convolution,
    "Gemm": gemm,
    "MatMul": matmul,
    "Transpose": transpose,
    "Concat": concat,
}
