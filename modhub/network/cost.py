"""What running a network costs, in multiply-accumulates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Network, Node, Shape


def macs(network: Network) -> int:
    """Return the multiply-accumulates of one input through the network's layers and matrix products."""
    return sum(node_macs(network, infer_shapes(network)))


def node_macs(network: Network, shapes: Mapping[str, Shape]) -> list[int]:
    """Return the multiply-accumulates of each node for one input; zero for operators that multiply no matrices."""
    return [_node_macs(node, network, shapes) for node in network.nodes]


def _node_macs(node: Node, network: Network, shapes: Mapping[str, Shape]) -> int:
    outputs = math.prod(_size(size) for size in shapes[node.outputs[0]]) if node.outputs[0] in shapes else 0
    if node.op in ("Conv", "ConvTranspose"):
        return outputs * math.prod(_size(size) for size in shapes[node.inputs[1]][1:])
    if node.op == "Gemm":
        axis = 1 if node.integer("transB", 0) else 0
        return outputs * _size(shapes[node.inputs[1]][axis])
    if node.op == "MatMul":
        return outputs * _size(shapes[node.inputs[0]][-1])
    if node.op in ("LSTM", "GRU", "RNN"):
        steps = _size(shapes[node.inputs[0]][0])
        return steps * sum(network.arrays[name].size for name in node.inputs[1:3] if name in network.arrays)
    return 0


def _size(size: int | str) -> int:
    """Return a dimension for one input: the batch counts as one."""
    if isinstance(size, int):
        return size
    return int(size.partition("*")[2] or 1)
