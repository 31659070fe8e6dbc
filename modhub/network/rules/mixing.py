"""Operators that mix positions along some axes: pooling, reductions and normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.network.rules.layers import pin_all

if TYPE_CHECKING:
    from collections.abc import Collection

    from modhub.network.network import Node
    from modhub.network.rules.walk import Axes, Rule, Walk

POOLING = frozenset("MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool".split())
REDUCTIONS = frozenset(
    "ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp".split()
)


def _unmixed(walk: Walk, node: Node, mixed: Collection[int], verb: str) -> Axes:
    """Return the units along each axis of a node's first input; those along mixed axes are pinned and left out."""
    axes = walk.axes_of(node.inputs[0], mixed=mixed)
    walk.pin_axes((axes[axis] for axis in mixed), f"{node.label} {verb}")
    return [None if axis in mixed else units for axis, units in enumerate(axes)]


def pooling(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Channels stay apart; spatial axes are mixed."""
    axes = _unmixed(walk, node, range(2, walk.rank(node.inputs[0])), "mixes it")
    for name in node.outputs:
        if name:
            walk.put(name, axes)


def reduction(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Reduced axes vanish, or have length one."""
    rank = walk.rank(node.inputs[0])
    constant = len(node.inputs) > 1 and node.inputs[1] in walk.network.arrays
    chosen = walk.network.arrays[node.inputs[1]].ravel().tolist() if constant else range(rank)
    reduced = sorted({int(axis) % rank for axis in chosen})
    axes = _unmixed(walk, node, reduced, "mixes it")
    if not node.integer("keepdims", 1):
        axes = [units for axis, units in enumerate(axes) if axis not in reduced]
    walk.put(node.outputs[0], axes)


def softmax(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """One axis is mixed."""
    axis = node.integer("axis", -1) % walk.rank(node.inputs[0])
    walk.put(node.outputs[0], _unmixed(walk, node, (axis,), "normalises over it"))


def layer_norm(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Every axis from one on is mixed."""
    rank = walk.rank(node.inputs[0])
    mixed = range(node.integer("axis", -1) % rank, rank)
    walk.put(node.outputs[0], _unmixed(walk, node, mixed, "normalises over it"))


def instance_norm(walk: Walk, index: int, node: Node) -> None:
    """Each channel is normalised on its own, so channels stay apart."""
    if not all(walk.is_array(name) for name in node.inputs[1:3]):
        pin_all(walk, index, node)
        return
    rank = walk.rank(node.inputs[0])
    axes = _unmixed(walk, node, range(2, rank), "normalises over it")
    if axes[1] is not None:
        for name in node.inputs[1:3]:
            walk.use(index, name, 0, axes[1], role="element")
    walk.put(node.outputs[0], axes)


RULES: dict[str, Rule] = {
    **dict.fromkeys(POOLING, pooling),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    "LayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
}
