"""What rearranges elements without choosing among them: reshapes, transpositions, repetition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from modhub.engines.operators.operator import Operator, plain, text, to_ints

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node


def _flatten(node: Node) -> Function:
    axis = node.integer("axis", 1)

    def compute(value: torch.Tensor) -> torch.Tensor:
        first = axis + value.ndim if axis < 0 else axis
        return value.reshape(math.prod(value.shape[:first]), math.prod(value.shape[first:]))

    return compute


def _reshape(node: Node) -> Function:
    means_zero = bool(node.integer("allowzero", 0))

    def compute(value: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        sizes = to_ints(shape)
        if means_zero:
            return value.reshape(sizes)
        return value.reshape([value.shape[i] if size == 0 else size for i, size in enumerate(sizes)])

    return compute


def _transpose(node: Node) -> Function:
    order = node.ints("perm", ())
    return lambda value: value.permute(order or tuple(reversed(range(value.ndim))))


def squeeze(value: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
    """Return the value without some axes of length 1; without all of them where none are named."""
    return value.squeeze() if axes is None else value.squeeze(tuple(to_ints(axes)))


def unsqueeze(value: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """Return the value with axes of length 1 at some places of the result."""
    places = to_ints(axes)
    rank = value.ndim + len(places)
    for place in sorted(place % rank for place in places):
        value = value.unsqueeze(place)
    return value


def expand(value: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """Return the value broadcast together with a shape."""
    sizes = to_ints(shape)
    own, wanted = ([1] * (max(value.ndim, len(sizes)) - len(one)) + list(one) for one in (value.shape, sizes))
    return value.expand([mine if size == 1 else size for mine, size in zip(own, wanted, strict=True)])


def tile(value: torch.Tensor, repeats: torch.Tensor) -> torch.Tensor:
    """Return the value repeated along every axis."""
    return value.repeat(to_ints(repeats))


def _shape(node: Node) -> Function:
    start, end = node.integer("start", 0), node.attributes.get("end")
    span = slice(start, None if end is None else node.integer("end", 0))
    return lambda value: torch.tensor(value.shape[span], dtype=torch.int64, device=value.device)


def size(value: torch.Tensor) -> torch.Tensor:
    """Return the number of elements."""
    return torch.tensor(value.numel(), dtype=torch.int64, device=value.device)


def _depth_to_space(node: Node) -> Function:
    block = node.integer("blocksize", 1)
    # The axes of a block's rows and columns and of the remaining channels, within the split channel axis.
    rows, columns, rest = (1, 2, 3) if text(node, "mode", "DCR") == "DCR" else (2, 3, 1)

    def compute(value: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = value.shape
        split = [batch, block, block, block, height, width]
        split[rest] = channels // block**2
        blocks = value.reshape(split).permute(0, rest, 4, rows, 5, columns)
        return blocks.reshape(batch, channels // block**2, height * block, width * block)

    return compute


def _space_to_depth(node: Node) -> Function:
    block = node.integer("blocksize", 1)

    def compute(value: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = value.shape
        blocks = value.reshape(batch, channels, height // block, block, width // block, block)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * block**2, height // block, width // block)

    return compute


def identity(value: torch.Tensor) -> torch.Tensor:
    """Return the value itself."""
    return value


OPERATORS: dict[str, Operator] = {
    "DepthToSpace": Operator(_depth_to_space),
    "Expand": plain(expand, sizes=(1,)),
    "Flatten": Operator(_flatten),
    "Identity": plain(identity),
    "Reshape": Operator(_reshape, sizes=(1,)),
    "Shape": Operator(_shape),
    "Size": plain(size),
    "SpaceToDepth": Operator(_space_to_depth),
    "Squeeze": plain(squeeze, sizes=(1,)),
    "Tile": plain(tile, sizes=(1,)),
    "Transpose": Operator(_transpose),
    "Unsqueeze": plain(unsqueeze, sizes=(1,)),
}
