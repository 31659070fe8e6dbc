"""Values that are constant but for the size of the batch, made static.

A class token is repeated for every image, an initial state for every sequence, a reshape keeps the batch. Exporters
write that as arithmetic on the input's shape. What reads such a value is rewritten so that no size of a batch occurs
in the graph:

* a target of `Reshape` copies the batch (``0``) or takes what is left (``-1``); a target of `Expand` leaves it alone;
* element-wise operators read one row, which broadcasts;
* `Concat` with repeated rows becomes padding with zeros and an addition of one row;
* an initial state of zeros is left out, since that is what recurrent operators start with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from modhub.errors import InvalidNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from modhub.network.network import Array

Pairs: TypeAlias = "dict[str, tuple[Array, Array]]"
"""Constants by name, each for both sizes of the batch."""

BATCHES = (61, 67)
"""Two sizes of the batch, prime, so that what follows the batch is told from what does not."""

BROADCASTING = frozenset("Add Sub Mul Div Pow Min Max Mean Sum PRelu Where Equal Less Greater And Or Expand".split())
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
STATES = (5, 6)
"""Positions of the initial states among a recurrent operator's inputs."""


def free_of_batch(
    nodes: Sequence[onnx.NodeProto], known: Pairs, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Return the nodes, rewritten where they read what follows the batch, and all constants.

    Args:
        nodes: what is left after folding.
        known: the constants for both sizes of the batch.
        shapes: shapes for the first of the two.

    Raises:
        InvalidNetwork: a node needs the batch in a way that cannot be made static.
    """
    made = {name for node in nodes for name in node.output}
    arrays = {name: pair[0] for name, pair in known.items() if name not in made}
    moving = {name for name, (first, second) in known.items() if name not in made and not _is_equal(first, second)}
    result: list[onnx.NodeProto] = []
    for node in nodes:
        if moving.isdisjoint(node.input):
            result.append(node)
        else:
            result.extend(_rewritten(node, {name: known[name] for name in moving}, shapes, arrays))
    return result, arrays


def _is_equal(first: Array, second: Array) -> bool:
    return first is second or bool(np.array_equal(first, second))


def _rewritten(
    node: onnx.NodeProto, moving: Pairs, shapes: Mapping[str, tuple[int, ...]], arrays: dict[str, Array]
) -> list[onnx.NodeProto]:
    import onnx

    if node.op_type == "Concat":
        return _padded(node, moving, shapes, arrays)
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for position, name in enumerate(node.input):
        if name in moving:
            replacement = _replacement(node, position, shapes)(*moving[name])
            copy.input[position] = "" if replacement is None else f"{name}/{node.output[0]}"
            if replacement is not None:
                arrays[copy.input[position]] = replacement
    return [copy]


def _replacement(
    node: onnx.NodeProto, position: int, shapes: Mapping[str, tuple[int, ...]]
) -> Callable[[Array, Array], Array | None]:
    """Return what makes the input at a position of a node static, given it for both sizes of the batch."""
    if node.op_type == "Reshape" and position == 1:
        return lambda first, second: _reshape_target(node, first, second, shapes)
    if node.op_type == "Expand" and position == 1:
        return lambda first, second: np.where(first == second, first, 1)
    if node.op_type in BROADCASTING or (node.op_type == "MatMul" and len(shapes[node.input[position]]) > 2):
        return lambda first, second: one_row(node, first, second)
    if node.op_type in RECURRENT and position in STATES:
        return lambda first, second: _initial_state(node, first, second)
    raise InvalidNetwork(
        f"{node.op_type} node {node.name!r} needs the size of the batch, which is not known before running"
    )


def _reshape_target(node: onnx.NodeProto, first: Array, second: Array, shapes: Mapping[str, tuple[int, ...]]) -> Array:
    differs = np.flatnonzero(first != second).tolist()
    target = first.astype(np.int64)
    keeps_batch = shapes.get(node.input[0], (0,))[0] == BATCHES[0]
    if differs == [0] and keeps_batch and first[0] == BATCHES[0]:
        target[0] = 0
    elif len(differs) == 1 and -1 not in first:
        target[differs[0]] = -1
    else:
        problem = f"moves the batch in a way that cannot be made static: {first.tolist()}"
        raise InvalidNetwork(f"Reshape node {node.name!r} {problem}")
    return target


def one_row(node: onnx.NodeProto, first: Array, second: Array) -> Array:
    """Return a constant that repeats along the batch with one row in its place.

    Raises:
        InvalidNetwork: its rows differ, or more than one axis follows the batch.
    """
    axes = [axis for axis, (a, b) in enumerate(zip(first.shape, second.shape, strict=False)) if a != b]
    if first.ndim == second.ndim and len(axes) == 1:
        row = first.take([0], axis=axes[0])
        if all((array == row).all() for array in (first, second)):
            return row
    shape = list(first.shape)
    raise InvalidNetwork(
        f"{node.op_type} node {node.name!r} reads a constant of shape {shape} that differs along the batch"
    )


def _initial_state(node: onnx.NodeProto, first: Array, second: Array) -> Array | None:
    if first.any() or second.any():
        raise InvalidNetwork(
            f"{node.op_type} node {node.name!r} starts from a state that is not zero for every sequence"
        )
    return None


def _padded(
    node: onnx.NodeProto, moving: Pairs, shapes: Mapping[str, tuple[int, ...]], arrays: dict[str, Array]
) -> list[onnx.NodeProto]:
    """Return the concatenation of repeated rows and values as padding with zeros and an addition."""
    from onnx import helper

    values = [name for name in node.input if name not in moving and name not in arrays]
    start = list(node.input).index(values[0]) if values else 0
    if not values or list(node.input[start : start + len(values)]) != values:
        raise InvalidNetwork(f"Concat node {node.name!r} joins constants between values, repeated along the batch")
    output, rank = node.output[0], len(shapes[values[0]])
    axis = helper.get_node_attr_value(node, "axis") % rank
    rows = [
        one_row(node, *moving[name]) if name in moving else arrays[name] for name in node.input if name not in values
    ]
    gap = list(rows[0].shape)
    gap[axis] = sum(shapes[name][axis] for name in values)
    pads = np.zeros(2 * rank, dtype=np.int64)
    pads[axis] = sum(row.shape[axis] for row in rows[:start])
    pads[rank + axis] = sum(row.shape[axis] for row in rows[start:])
    arrays[f"{output}/pads"] = pads
    arrays[f"{output}/rows"] = np.concatenate(
        [*rows[:start], np.zeros(gap, dtype=rows[0].dtype), *rows[start:]], axis=axis
    )
    joined = [f"{output}/values"] if len(values) > 1 else values
    concat = helper.make_node("Concat", values, joined, name=f"{output}/values", axis=axis)
    pad = helper.make_node("Pad", [*joined, f"{output}/pads"], [f"{output}/padded"], name=f"{output}/padded")
    add = helper.make_node("Add", [f"{output}/padded", f"{output}/rows"], [output], name=node.name)
    return [*([concat] if len(values) > 1 else []), pad, add]
