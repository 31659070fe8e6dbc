"""A class module as a network: masked (same shapes, zeros) or sliced (physically smaller).

Law: ``sliced(x) == masked(x)`` up to rounding, for every architecture and every mask. The sliced network is what is
shipped and run; the masked one is the oracle and what is trained.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.modules import MlpHead, check_module
from modhub.network.network import BATCH, Node
from modhub.network.passes.clean import drop_unused
from modhub.network.passes.names import fresh_name
from modhub.network.passes.selection import PREFIX, selection_matrix
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.modules import ClassModule
    from modhub.network.network import Array, Attribute, Network
    from modhub.network.sites import Branch, Flags, Sites

SCORE = "score"


class Editor:
    """A network being rewritten: mutable copies of its parts, and names that are still free."""

    def __init__(self, network: Network) -> None:
        self.nodes = list(network.nodes)
        self.arrays: dict[str, Array] = dict(network.arrays)
        self.index = {node.outputs[0]: i for i, node in enumerate(network.nodes)}
        self.inserted: dict[int, list[Node]] = {}
        self.taken = {network.input.name, *network.arrays, *network.producers()}
        self.selections: dict[tuple[tuple[int, ...], bytes], str] = {}

    def store(self, wish: str, array: Array) -> str:
        """Add an array under a free name and return the name."""
        name = fresh_name(wish, self.taken)
        self.arrays[name] = array
        return name

    def store_selection(self, wish: str, matrix: Array) -> str:
        """Return the name of a selection's matrix; equal ones are stored once, as in unrolled recurrences."""
        key = (matrix.shape, matrix.tobytes())
        if key not in self.selections:
            self.selections[key] = self.store(wish, matrix)
        return self.selections[key]

    def insert_before(
        self,
        index: int,
        operand: int,
        *,
        op: str,
        operands: tuple[str, ...],
        wish: str,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Put an operator between one input of a node and whatever made it."""
        reader = self.nodes[index]
        output = fresh_name(wish, self.taken)
        node = Node(
            op=op,
            inputs=(reader.inputs[operand], *operands),
            outputs=(output,),
            attributes=attributes or {},
            name=output,
        )
        inputs = (*reader.inputs[:operand], output, *reader.inputs[operand + 1 :])
        self.nodes[index] = dataclasses.replace(reader, inputs=inputs)
        self.inserted.setdefault(index, []).append(node)

    def operand(self, node: str, operand: int) -> Array:
        """Return the array that is an input of a node."""
        return self.arrays[self.nodes[self.index[node]].inputs[operand]]

    def replace_operand(self, node: str, operand: int, array: Array) -> None:
        """Let a node read another array."""
        index = self.index[node]
        inputs = list(self.nodes[index].inputs)
        inputs[operand] = self.store(f"{node}.{operand}", array)
        self.nodes[index] = dataclasses.replace(self.nodes[index], inputs=tuple(inputs))

    def append(self, op: str, *inputs: str, wish: str, **attributes: int) -> str:
        """Add a node at the end and return the name of its result."""
        output = fresh_name(wish, self.taken)
        self.nodes.append(Node(op=op, inputs=inputs, outputs=(output,), attributes=attributes, name=output))
        return output

    def result(self) -> tuple[Node, ...]:
        """Return all nodes in topological order."""
        return tuple(node for i, own in enumerate(self.nodes) for node in (*self.inserted.get(i, ()), own))


def masked(network: Network, sites: Sites, module: ClassModule) -> Network:
    """Return the module as the whole parent with zeros at every consumer of a dropped channel.

    The output is `score`, float32 ``[batch, 1]``.

    Raises:
        DecomposeError: the module does not fit the sites.
    """
    check_module(network, sites, module)
    editor = Editor(network)
    shapes = infer_shapes(network)
    flags = sites.flags(sites.settle(module.kept))
    _change_weights(editor, module)
    for reader in sites.readers:
        open_positions = flags[reader.channels]
        if not open_positions.all():
            index = editor.index[reader.node]
            value = network.nodes[index].inputs[reader.operand]
            shape = [1] * len(shapes[value])
            shape[reader.axis] = len(open_positions)
            mask = editor.store(
                f"mask/{reader.node}.{reader.operand}", open_positions.astype(np.float32).reshape(shape)
            )
            editor.insert_before(index, reader.operand, op="Mul", operands=(mask,), wish=f"{value}.masked")
    logit = _pick_row(editor, network.output, module.row)
    return _finish(editor, network, module, logit=logit)


def sliced(network: Network, sites: Sites, module: ClassModule) -> Network:
    """Return the module as a network of its own, without the channels it dropped.

    Kept channels stay in ascending parent order, so that the parts that modules of one parent share stay equal arrays.
    The output is `score`, float32 ``[batch, 1]``.

    Raises:
        DecomposeError: the module does not fit the sites.
    """
    check_module(network, sites, module)
    editor = Editor(network)
    own_row = not isinstance(module.head, MlpHead) and sites.output is not None
    flags = sites.flags(sites.settle(module.kept), output_row=module.row if own_row else None)
    _change_weights(editor, module)
    _cut_arrays(editor, sites, flags)
    _cut_sizes(editor, sites, flags)
    for branch in sites.branches:
        _scatter(editor, branch, flags)
    logit = network.output if own_row else _pick_row(editor, network.output, module.row)
    return _finish(editor, network, module, logit=logit)


def _change_weights(editor: Editor, module: ClassModule) -> None:
    """Set dropped weights to zero, then scale and shift the layers that have an affine map."""
    for name, kept in module.weights.items():
        editor.arrays[name] = np.where(kept, editor.arrays[name].astype(np.float32, copy=False), np.float32(0))
    for node in editor.nodes:
        if len(node.inputs) > 2 and node.inputs[1] in module.affine:
            affine = module.affine[node.inputs[1]]
            weight, bias = (editor.arrays[name].astype(np.float32, copy=False) for name in node.inputs[1:3])
            rows = affine.scale.reshape(-1, *[1] * (weight.ndim - 1))
            editor.arrays[node.inputs[1]] = weight * rows
            editor.arrays[node.inputs[2]] = bias * affine.scale + affine.offset


def _cut_arrays(editor: Editor, sites: Sites, flags: Flags) -> None:
    done = set()
    for use in sites.arrays:
        if (use.array, use.axis) not in done and not flags[use.channels].all():
            positions = np.flatnonzero(flags[use.channels])
            editor.arrays[use.array] = _taken(editor.arrays[use.array], positions, axis=use.axis)
        done.add((use.array, use.axis))


def _taken(array: Array, positions: Array, *, axis: int) -> Array:
    if array.ndim and not any(array.strides):  # One number at every place, in an outline.
        shape = (*array.shape[:axis], len(positions), *array.shape[axis + 1 :])
        return np.broadcast_to(array[(0,) * array.ndim], shape)
    return np.ascontiguousarray(array.take(positions, axis=axis))


def _cut_sizes(editor: Editor, sites: Sites, flags: Flags) -> None:
    for target in sites.targets:
        if not flags[target.channels].all():
            sizes = editor.operand(target.node, target.operand).copy()
            sizes[target.index] = flags[target.channels].sum()
            editor.replace_operand(target.node, target.operand, sizes)
    for map_ in sites.positions:
        if not flags[map_.channels].all():
            old = editor.operand(map_.node, map_.operand) % len(map_.channels)
            places = np.cumsum(flags[map_.channels]) - 1
            editor.replace_operand(map_.node, map_.operand, places[old[flags[map_.channels[old]]]])
    for attribute in sites.attributes:
        index = editor.index[attribute.node]
        node = editor.nodes[index]
        attributes = {**node.attributes, attribute.attribute: int(flags[attribute.channels].sum())}
        editor.nodes[index] = dataclasses.replace(node, attributes=attributes)


def _scatter(editor: Editor, branch: Branch, flags: Flags) -> None:
    """Put the kept channels of a branch back to their places on the stream, by a product with a 0/1 matrix."""
    stream = np.ones(len(branch.channels), dtype=np.bool_) if branch.stream is None else flags[branch.stream]
    targets, sources = np.flatnonzero(stream), np.flatnonzero(flags[branch.channels])
    if np.array_equal(targets, sources):
        return
    column = {int(position): i for i, position in enumerate(sources)}
    kept = {row: column[int(position)] for row, position in enumerate(targets) if int(position) in column}
    matrix = selection_matrix(rows=len(targets), columns=len(sources), kept=kept)
    index = editor.index[branch.node]
    value = editor.nodes[index].inputs[branch.operand]
    last = branch.axis == branch.rank - 1
    weight = matrix.T if last else matrix.reshape(*matrix.shape, *[1] * (branch.rank - 2))
    name = editor.store_selection(f"{PREFIX}{value}", np.ascontiguousarray(weight))
    attributes = {} if last else {"kernel_shape": (1,) * (branch.rank - 2)}
    editor.insert_before(
        index,
        branch.operand,
        op="MatMul" if last else "Conv",
        operands=(name,),
        wish=f"{value}.scattered",
        attributes=attributes,
    )


def _pick_row(editor: Editor, logits: str, row: int) -> str:
    index = editor.store(f"{logits}.row", np.array([row], dtype=np.int64))
    return editor.append("Gather", logits, index, wish=f"{logits}.own", axis=1)


def _finish(editor: Editor, network: Network, module: ClassModule, *, logit: str) -> Network:
    value = _mlp(editor, network.output, module.head) if isinstance(module.head, MlpHead) else logit
    if module.calibration is not None:
        numbers = (("Mul", "scale", module.calibration.scale), ("Add", "offset", module.calibration.offset))
        for op, part, number in numbers:
            name = editor.store(f"calibration/{part}", np.array([number], dtype=np.float32))
            value = editor.append(op, value, name, wish=f"calibration/{part}.out")
    nodes = tuple(_renamed(node, value, SCORE) for node in editor.result())
    changes = {"nodes": nodes, "arrays": editor.arrays, "output": SCORE, "output_shape": (BATCH, 1), "metadata": {}}
    return drop_unused(network.replace(**changes))


def _renamed(node: Node, old: str, new: str) -> Node:
    inputs = tuple(new if name == old else name for name in node.inputs)
    return dataclasses.replace(node, inputs=inputs, outputs=tuple(new if n == old else n for n in node.outputs))


def _mlp(editor: Editor, logits: str, head: MlpHead) -> str:
    hidden = editor.append("Relu", logits, wish="head/relu")
    weights = (editor.store("head/first", head.first), editor.store("head/first.bias", head.first_bias))
    hidden = editor.append("Gemm", hidden, *weights, wish="head/first.out", transB=1)
    hidden = editor.append("Relu", hidden, wish="head/hidden")
    weights = (editor.store("head/second", head.second), editor.store("head/second.bias", head.second_bias))
    return editor.append("Gemm", hidden, *weights, wish="head/second.out", transB=1)
