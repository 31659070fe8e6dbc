"""Multiplications and additions per channel move into the layer before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.network.passes.batchnorm import foldable_producer, scale_rows
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.network.network import Array, Network, Node, Shape

    Doubles = npt.NDArray[np.float64]


def fold_arithmetic(network: Network) -> Network:
    """Return the network with constant per-channel arithmetic folded into the layers before it.

    Exporters of other frameworks write a bias as an addition after the product, and batch-norm as a multiplication and
    an addition.
    """
    shapes = infer_shapes(network)
    arrays = dict(network.arrays)
    nodes = list(network.nodes)
    taken = {*shapes, *arrays}
    index = 0
    while index < len(nodes):
        affine = _affine(nodes[index], arrays, shapes)
        if affine is not None:
            value, scale, shift = affine
            before = foldable_producer(network.replace(nodes=tuple(nodes), arrays=arrays), value)
            if before is not None:
                output = nodes[index].outputs[0]
                nodes[before] = scale_rows(nodes[before], scale, shift, arrays=arrays, taken=taken, output=output)
                del nodes[index]
                continue
        index += 1
    return network.replace(nodes=tuple(nodes), arrays=arrays)


def _affine(node: Node, arrays: dict[str, Array], shapes: dict[str, Shape]) -> tuple[str, Doubles, Doubles] | None:
    """Return `(value, scale, shift)` if the node is ``scale * value + shift`` per channel of axis 1."""
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    value, constant = node.inputs
    if value in arrays and node.op in ("Add", "Mul"):
        value, constant = constant, value
    if constant not in arrays or value in arrays:
        return None
    channels = _per_channel(arrays[constant], shapes[value])
    if channels is None or shapes[node.outputs[0]] != shapes[value]:
        return None
    one, zero = np.ones_like(channels), np.zeros_like(channels)
    maps = {"Add": (one, channels), "Sub": (one, -channels), "Mul": (channels, zero)}
    if node.op == "Div":
        return None if (channels == 0).any() else (value, 1 / channels, zero)
    return (value, *maps[node.op])


def _per_channel(constant: Array, shape: Shape) -> Doubles | None:
    """Return the constant as one number per channel of axis 1, or None where it varies elsewhere."""
    if len(shape) < 2 or not isinstance(shape[1], int) or constant.ndim > len(shape) or constant.dtype.kind != "f":
        return None
    padded = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    if any(size != 1 for axis, size in enumerate(padded.shape) if axis != 1):
        return None
    return np.broadcast_to(padded.reshape(-1), (shape[1],)).astype(np.float64)
