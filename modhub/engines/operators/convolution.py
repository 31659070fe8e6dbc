"""Convolutions over one, two or three spatial axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from modhub.engines.operators.operator import Operator
from modhub.engines.operators.windows import Window, check_auto_pad, flat

if TYPE_CHECKING:
    import torch

    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _conv(node: Node) -> Function:
    check_auto_pad(node)
    groups = node.integer("group", 1)

    def compute(value: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        window = Window.of(node, weight.shape[2:])
        padding = window.padding(value.shape[2:])
        begins = tuple(begin for begin, _ in padding)
        if any(begin != end for begin, end in padding):
            value, begins = functional.pad(value, flat(padding)), (0,) * len(padding)
        convolve = CONVOLUTIONS[len(padding)]
        return convolve(value, weight, bias, window.strides, begins, window.dilations, groups)

    return compute


OPERATORS: dict[str, Operator] = {"Conv": Operator(_conv)}
