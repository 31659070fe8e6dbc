"""Batch-norm at inference is an affine map per channel; here it becomes one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import InvalidNetwork
from modhub.network.network import Node
from modhub.network.passes.names import fresh_name
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.network.network import Array, Network

    Doubles = npt.NDArray[np.float64]

LINEAR = {"Conv": 1, "Gemm": 2}
"""Operators whose rows a per-channel affine map folds into, with the position of their weights plus nothing else."""


def fold_batchnorm(network: Network) -> Network:
    """Return the network with each `BatchNormalization` folded into the layer before it.

    Where the layer before is no convolution, or is read elsewhere too (pre-activation networks), a multiplication and
    an addition per channel take its place. Folding is computed in double precision and rounded once.

    Raises:
        InvalidNetwork: a batch-norm's statistics are not constants.
    """
    if not any(node.op == "BatchNormalization" for node in network.nodes):
        return network
    shapes = infer_shapes(network)
    arrays = dict(network.arrays)
    nodes = list(network.nodes)
    taken = {*shapes, *arrays}
    index = 0
    while index < len(nodes):
        if nodes[index].op == "BatchNormalization":
            scale, shift = _affine(nodes[index], arrays)
            rank = len(shapes[nodes[index].inputs[0]])
            current = network.replace(nodes=tuple(nodes), arrays=arrays)
            before = foldable_producer(current, nodes[index].inputs[0])
            if before is None:
                nodes[index : index + 1] = _as_arithmetic(
                    nodes[index], scale, shift, rank=rank, arrays=arrays, taken=taken
                )
            else:
                output = nodes[index].outputs[0]
                nodes[before] = scale_rows(nodes[before], scale, shift, arrays=arrays, taken=taken, output=output)
                del nodes[index]
                continue
        index += 1
    return network.replace(nodes=tuple(nodes), arrays=arrays)


def foldable_producer(network: Network, value: str) -> int | None:
    """Return the index of the layer that makes `value` if an affine map per channel can move into it.

    That needs a convolution or `Gemm` with constant weights of its own, whose result nobody else reads.
    """
    made = network.producers().get(value)
    if made is None or network.nodes[made].op not in LINEAR or value == network.output:
        return None
    node, uses = network.nodes[made], network.consumers()
    if node.op == "Gemm" and (node.integer("transB", 0) != 1 or node.number("alpha", 1.0) != 1.0):
        return None
    own = all(name in network.arrays and len(uses[name]) == 1 for name in node.inputs[1:] if name)
    return made if own and len(uses[value]) == 1 else None


def scale_rows(
    node: Node, scale: Doubles, shift: Doubles, *, arrays: dict[str, Array], taken: set[str], output: str
) -> Node:
    """Return `node` computing ``scale * node(x) + shift`` per output channel; updates `arrays`."""
    weight = arrays[node.inputs[1]].astype(np.float64)
    rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
    arrays[node.inputs[1]] = (weight * rows).astype(np.float32)
    has_bias = len(node.inputs) > 2 and node.inputs[2] != ""
    bias = arrays[node.inputs[2]].astype(np.float64) if has_bias else np.zeros(weight.shape[0])
    name = node.inputs[2] if has_bias else fresh_name(f"{node.inputs[1]}.bias", taken)
    arrays[name] = (bias * scale + shift).astype(np.float32)
    return dataclasses.replace(node, inputs=(*node.inputs[:2], name), outputs=(output,))


def _affine(node: Node, arrays: dict[str, Array]) -> tuple[Doubles, Doubles]:
    try:
        gamma, beta, mean, variance = (arrays[name].astype(np.float64) for name in node.inputs[1:5])
    except KeyError as error:
        raise InvalidNetwork(f"{node.label} has statistics that are not constants: {error}") from error
    scale = gamma / np.sqrt(variance + node.number("epsilon", 1e-5))
    return scale, beta - mean * scale


def _as_arithmetic(
    node: Node, scale: Doubles, shift: Doubles, *, rank: int, arrays: dict[str, Array], taken: set[str]
) -> list[Node]:
    names = [fresh_name(f"{node.outputs[0]}.{part}", taken) for part in ("scale", "shift", "scaled")]
    shape = (-1, *[1] * (rank - 2))
    arrays[names[0]] = scale.astype(np.float32).reshape(shape)
    arrays[names[1]] = shift.astype(np.float32).reshape(shape)
    multiply = Node(op="Mul", inputs=(node.inputs[0], names[0]), outputs=(names[2],), name=f"{node.name}.scale")
    return [multiply, Node(op="Add", inputs=(names[2], names[1]), outputs=node.outputs, name=f"{node.name}.shift")]
