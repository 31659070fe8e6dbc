"""Slices and splits that spell out what they take.

Exporters count from the end, or say "to the end" with the largest integer, and may leave the parts of a split to the
number of outputs. Once channels have been cut such words mean something else, so normal form has numbers.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.passes.names import fresh_name
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Array, Network, Node, Shape


def spell_out_positions(network: Network) -> Network:
    """Return the network with starts and ends of slices, and lengths of splits, as numbers within the axis."""
    if not any(node.op in ("Slice", "Split") for node in network.nodes):
        return network
    shapes, arrays = infer_shapes(network), dict(network.arrays)
    taken = {*shapes, *arrays}
    nodes = []
    for node in network.nodes:
        if node.op == "Split":
            nodes.append(_split(node, shapes, arrays, taken))
        elif node.op == "Slice" and all(name in arrays for name in node.inputs[1:] if name):
            nodes.append(_slice(node, shapes, arrays, taken))
        else:
            nodes.append(node)
    return network.replace(nodes=tuple(nodes), arrays=arrays)


def _split(node: Node, shapes: Mapping[str, Shape], arrays: dict[str, Array], taken: set[str]) -> Node:
    axis = node.integer("axis", 0) % len(shapes[node.inputs[0]])
    sizes = [shapes[name][axis] for name in node.outputs if name]
    if len(node.inputs) > 1 or len(sizes) < len(node.outputs) or not all(isinstance(size, int) for size in sizes):
        return node
    name = fresh_name(f"{node.outputs[0]}.split", taken)
    arrays[name] = np.array(sizes, dtype=np.int64)
    attributes = {key: value for key, value in node.attributes.items() if key != "num_outputs"}
    return dataclasses.replace(node, inputs=(node.inputs[0], name), attributes=attributes)


def _slice(node: Node, shapes: Mapping[str, Shape], arrays: dict[str, Array], taken: set[str]) -> Node:
    shape = shapes[node.inputs[0]]
    starts, ends = (arrays[name].copy() for name in node.inputs[1:3])
    axes = arrays[node.inputs[3]].tolist() if len(node.inputs) > 3 and node.inputs[3] else range(len(starts))
    steps = arrays[node.inputs[4]].tolist() if len(node.inputs) > 4 and node.inputs[4] else [1] * len(starts)
    for i, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        size = shape[axis]
        if isinstance(size, int) and step > 0:
            starts[i], ends[i], _ = slice(int(starts[i]), int(ends[i]), int(step)).indices(size)
    inputs = list(node.inputs)
    for operand, values in ((1, starts), (2, ends)):
        if not np.array_equal(values, arrays[inputs[operand]]):
            inputs[operand] = fresh_name(f"{node.outputs[0]}.{('start', 'end')[operand - 1]}", taken)
            arrays[inputs[operand]] = values
    return dataclasses.replace(node, inputs=tuple(inputs))
