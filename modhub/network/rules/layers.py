"""Layers: operators that read all units of one axis and open new ones with the rows of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.network.units import AttributeUse

if TYPE_CHECKING:
    from modhub.network.network import Node
    from modhub.network.rules.walk import Axes, Rule, Walk
    from modhub.network.units import Units


def pin_all(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """No rule for the operator, or for this use of it: nothing that reaches it may be cut."""
    for name in node.inputs:
        if name:
            walk.pin(name, f"{node.label} has no rule for cutting")


def convolution(walk: Walk, index: int, node: Node) -> None:
    """Reads input channels as columns and opens its output channels.

    With groups, whole groups are kept or cut: the channels that a group reads and those it makes are one. With as many
    groups as channels (depthwise) that passes every channel on.
    """
    value, weight = node.inputs[:2]
    if not walk.is_array(weight) or not all(walk.is_array(name) for name in node.inputs[2:] if name):
        pin_all(walk, index, node)
        return
    groups, (rows, columns) = node.integer("group", 1), walk.network.arrays[weight].shape[:2]
    units = walk.only(value, 1, f"{node.label} mixes it")
    if groups == 1:
        if units is not None:
            walk.read(index, 0, 1, units)
            walk.use(index, weight, 1, units, role="column")
        opened = walk.table.open(rows, node=index, name=weight)
    elif units is not None:
        blocks = units.reshape(groups, columns)
        for column in range(1, columns):
            walk.table.unite(blocks[:, 0], blocks[:, column])
        opened = np.repeat(blocks[:, 0], rows // groups)
        walk.table.attributes.append(AttributeUse(node=index, attribute="group", units=blocks[:, 0]))
    else:
        return
    _make_rows(walk, index, node, opened, axis=1)


def transposed_convolution(walk: Walk, index: int, node: Node) -> None:
    """A convolution whose weights are ``[in, out, ...]``."""
    value, weight = node.inputs[:2]
    constant = all(walk.is_array(name) for name in node.inputs[1:] if name)
    if not constant or node.integer("group", 1) != 1:
        pin_all(walk, index, node)
        return
    units = walk.only(value, 1, f"{node.label} mixes it")
    if units is not None:
        walk.read(index, 0, 1, units)
        walk.use(index, weight, 0, units, role="column")
    opened = walk.table.open(walk.network.arrays[weight].shape[1], node=index, name=weight)
    _make_rows(walk, index, node, opened, axis=1, along=1)


def gemm(walk: Walk, index: int, node: Node) -> None:
    """Reads the features of a row and opens its outputs."""
    weight = node.inputs[1]
    constant = all(walk.is_array(name) for name in node.inputs[1:] if name)
    if not constant or node.integer("transB", 0) != 1 or node.integer("transA", 0) or not _has_plain_bias(walk, node):
        pin_all(walk, index, node)
        return
    units = walk.only(node.inputs[0], 1, f"{node.label} moves it in a way that cannot be followed")
    if units is not None:
        walk.read(index, 0, 1, units)
        walk.use(index, weight, 1, units, role="column")
    opened = walk.table.open(walk.network.arrays[weight].shape[0], node=index, name=weight)
    _make_rows(walk, index, node, opened, axis=1)


def _has_plain_bias(walk: Walk, node: Node) -> bool:
    rows = walk.network.arrays[node.inputs[1]].shape[0]
    return len(node.inputs) < 3 or not node.inputs[2] or walk.network.arrays[node.inputs[2]].shape == (rows,)


def _make_rows(walk: Walk, index: int, node: Node, units: Units, *, axis: int, along: int = 0) -> None:
    walk.use(index, node.inputs[1], along, units, role="row")
    if len(node.inputs) > 2 and node.inputs[2]:
        walk.use(index, node.inputs[2], 0, units, role="row")
    result: Axes = [None] * walk.rank(node.outputs[0])
    result[axis] = units
    walk.put(node.outputs[0], result)


def matmul(walk: Walk, index: int, node: Node) -> None:
    """With a constant matrix: a layer over the last axis. Between two values: contracts one axis of each."""
    first, second = node.inputs
    if walk.is_array(second) and walk.network.arrays[second].ndim == 2 and walk.rank(first) > 1:
        _constant_product(walk, index, node)
    elif not walk.is_array(first) and not walk.is_array(second) and walk.rank(first) == walk.rank(second) > 2:
        _product(walk, index, node)
    else:
        pin_all(walk, index, node)


def _constant_product(walk: Walk, index: int, node: Node) -> None:
    value, weight = node.inputs
    last = walk.rank(value) - 1
    axes = walk.axes_of(value, mixed=(last,))
    units = axes[last]
    if units is not None:
        walk.read(index, 0, last, units)
        walk.use(index, weight, 0, units, role="column")
    opened = walk.table.open(walk.network.arrays[weight].shape[1], node=index, name=weight)
    walk.use(index, weight, 1, opened, role="row")
    walk.put(node.outputs[0], [*axes[:-1], opened])


def _product(walk: Walk, index: int, node: Node) -> None:
    rank = walk.rank(node.inputs[0])
    first = walk.axes_of(node.inputs[0], mixed=(rank - 1, rank - 2))
    second = walk.axes_of(node.inputs[1], mixed=(rank - 1, rank - 2))
    left, right = first[-1], second[-2]
    if left is not None and right is not None:
        walk.read(index, 0, rank - 1, left)
        walk.read(index, 1, rank - 2, right)
        walk.table.unite(left, right)
    else:
        walk.pin_axes((left, right), f"{node.label} contracts it with an axis that cannot be cut")
    leading = [_met(walk, node, axis, first[axis], second[axis]) for axis in range(rank - 2)]
    walk.put(node.outputs[0], [*leading, first[-2], second[-1]])


def _met(walk: Walk, node: Node, axis: int, left: Units | None, right: Units | None) -> Units | None:
    """Return the units along a leading axis of a product: those of both operands, tied."""
    sizes = [walk.shapes[name][axis] for name in node.inputs]
    if left is not None and right is not None and sizes[0] == sizes[1]:
        walk.table.unite(left, right)
        return left
    if (left is None and right is None) or 1 in sizes:
        # An operand that broadcasts along the axis brings nothing, or a single unit that meets all others.
        own, other = (left, right) if sizes[1] == 1 else (right, left)
        walk.pin_axes((other,), f"{node.label} repeats it")
        return own
    walk.pin_axes((left, right), f"{node.label} joins it with an axis that cannot be cut")
    return None


RULES: dict[str, Rule] = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "Gemm": gemm,
    "MatMul": matmul,
}
