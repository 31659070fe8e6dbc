"""One spelling for fully connected layers and convolutions: constant weights, rows first, with a bias."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.passes.names import fresh_name
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    from modhub.network.network import Array, Network, Node, Shape


def normalise_linear(network: Network) -> Network:
    """Return the network with each constant-weight layer in its normal spelling.

    `Conv` gets a bias; `Gemm` gets weights ``[out, in]`` (`transB=1`), a bias ``[out]`` and no factors; a `MatMul` of a
    rank-2 value with a constant matrix becomes such a `Gemm`. Layers whose weights are computed are left alone.
    """
    shapes = infer_shapes(network)
    arrays = dict(network.arrays)
    taken = {*shapes, *arrays}
    nodes = []
    for node in network.nodes:
        if node.op == "Conv" and node.inputs[1] in arrays:
            nodes.append(_with_bias(node, arrays, taken))
        elif node.op == "Gemm" and _is_plain_gemm(node, arrays):
            nodes.append(_normal_gemm(node, arrays, taken))
        elif node.op == "MatMul" and _is_layer(node, arrays, shapes):
            gemm = dataclasses.replace(node, op="Gemm", attributes={"transB": 0})
            nodes.append(_normal_gemm(gemm, arrays, taken))
        else:
            nodes.append(node)
    return network.replace(nodes=tuple(nodes), arrays=arrays)


def _with_bias(node: Node, arrays: dict[str, Array], taken: set[str]) -> Node:
    if len(node.inputs) > 2 and node.inputs[2]:
        return node
    name = fresh_name(f"{node.inputs[1]}.bias", taken)
    arrays[name] = np.zeros(arrays[node.inputs[1]].shape[0], dtype=np.float32)
    return dataclasses.replace(node, inputs=(*node.inputs[:2], name))


def _is_plain_gemm(node: Node, arrays: dict[str, Array]) -> bool:
    constant = all(name in arrays for name in node.inputs[1:] if name)
    return constant and node.integer("transA", 0) == 0 and arrays[node.inputs[1]].ndim == 2


def _is_layer(node: Node, arrays: dict[str, Array], shapes: dict[str, Shape]) -> bool:
    return node.inputs[1] in arrays and arrays[node.inputs[1]].ndim == 2 and len(shapes[node.inputs[0]]) == 2


def _normal_gemm(node: Node, arrays: dict[str, Array], taken: set[str]) -> Node:
    original = arrays[node.inputs[1]]
    weight = original if node.integer("transB", 0) else original.T
    weight = weight.astype(np.float32) * np.float32(node.number("alpha", 1.0))
    size = weight.shape[0]
    has_bias = len(node.inputs) > 2 and node.inputs[2] != ""
    bias = arrays[node.inputs[2]] if has_bias else np.zeros(size, dtype=np.float32)
    if bias.ndim == 2 and bias.shape[0] != 1:
        return node
    bias = np.broadcast_to(bias.reshape(-1), (size,)).astype(np.float32) * np.float32(node.number("beta", 1.0))
    names = (
        _store(node.inputs[1], np.ascontiguousarray(weight), arrays, taken),
        _store(node.inputs[2] if has_bias else f"{node.inputs[1]}.bias", bias, arrays, taken),
    )
    return dataclasses.replace(node, inputs=(node.inputs[0], *names), attributes={"transB": 1})


def _store(name: str, array: Array, arrays: dict[str, Array], taken: set[str]) -> str:
    """Store an array under its name, or under a new one where the name holds something else."""
    if name in arrays and arrays[name].shape == array.shape and np.array_equal(arrays[name], array):
        return name
    name = fresh_name(f"{name}.t" if name in arrays and array.ndim == 2 else name, taken)
    arrays[name] = array
    return name
