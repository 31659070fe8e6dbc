"""Pooling over windows and over everything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.nn import functional

from modhub.engines.operators.convolution import CONVOLUTIONS
from modhub.engines.operators.operator import Operator, plain, refuse
from modhub.engines.operators.windows import Window, check_auto_pad, flat

if TYPE_CHECKING:
    import torch

    from modhub.engines.operators.operator import Function
    from modhub.engines.operators.windows import Padding
    from modhub.network.network import Node

MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _max_pool(node: Node) -> Function:
    if len(node.outputs) > 1:
        raise refuse(node, "it also returns the positions of the maxima")
    check_auto_pad(node)
    window = Window.of(node, node.ints("kernel_shape", ()))
    pool = MAX_POOLS[len(window.kernel)]

    def compute(value: torch.Tensor) -> torch.Tensor:
        size = value.shape[2:]
        padding, overhang = window.padding(size), window.overhang(size)
        begins = tuple(begin for begin, _ in padding)
        if any(overhang) or not _can_torch_pad(window, padding):
            value, begins = _padded(value, padding, overhang, fill=-math.inf, beyond=-math.inf), (0,) * len(padding)
        return pool(value, window.kernel, window.strides, begins, window.dilations)

    return compute


def _can_torch_pad(window: Window, padding: Padding) -> bool:
    return all(begin == end <= k // 2 for (begin, end), k in zip(padding, window.kernel, strict=True))


def _average_pool(node: Node) -> Function:
    check_auto_pad(node)
    window = Window.of(node, node.ints("kernel_shape", ()))
    weight_of_padding = 1.0 if node.integer("count_include_pad", 0) else 0.0

    def compute(value: torch.Tensor) -> torch.Tensor:
        size = value.shape[2:]
        padding, overhang = window.padding(size), window.overhang(size)
        if not any(cells for pair in padding for cells in pair) and not any(overhang):
            return _window_mean(value, window)
        counts = _padded(value.new_ones(1, 1, *size), padding, overhang, fill=weight_of_padding, beyond=0.0)
        padded = _padded(value, padding, overhang, fill=0.0, beyond=0.0)
        return _window_mean(padded, window) / _window_mean(counts, window)

    return compute


def _padded(
    value: torch.Tensor, padding: Padding, overhang: tuple[int, ...], *, fill: float, beyond: float
) -> torch.Tensor:
    """Return the value with `fill` in the declared padding and `beyond` in what lies behind it."""
    padded = functional.pad(value, flat(padding), value=fill)
    return functional.pad(padded, flat(tuple((0, cells) for cells in overhang)), value=beyond)


def _window_mean(value: torch.Tensor, window: Window) -> torch.Tensor:
    axes = len(window.kernel)
    if set(window.dilations) <= {1}:
        return AVERAGE_POOLS[axes](value, window.kernel, window.strides)
    channels = value.shape[1]
    weight = value.new_full((channels, 1, *window.kernel), 1 / math.prod(window.kernel))
    return CONVOLUTIONS[axes](value, weight, None, window.strides, 0, window.dilations, channels)


def global_average_pool(value: torch.Tensor) -> torch.Tensor:
    """Return the mean over all spatial axes, each kept with length 1."""
    return value.mean(dim=tuple(range(2, value.ndim)), keepdim=True)


def global_max_pool(value: torch.Tensor) -> torch.Tensor:
    """Return the maximum over all spatial axes, each kept with length 1."""
    return value.amax(dim=tuple(range(2, value.ndim)), keepdim=True)


OPERATORS: dict[str, Operator] = {
    "AveragePool": Operator(_average_pool),
    "GlobalAveragePool": plain(global_average_pool),
    "GlobalMaxPool": plain(global_max_pool),
    "MaxPool": Operator(_max_pool),
}
