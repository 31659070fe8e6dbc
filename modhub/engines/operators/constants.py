"""Tensors made from nothing but attributes and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from modhub.engines.operators.operator import Operator, plain, refuse, to_ints

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node

NUMBERS = {
    "value_float": torch.float32,
    "value_floats": torch.float32,
    "value_int": torch.int64,
    "value_ints": torch.int64,
}


class _Constant(torch.nn.Module):
    """A tensor that moves with the network from device to device."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)
        self.value: torch.Tensor

    def forward(self) -> torch.Tensor:
        return self.value


class _Zeros(torch.nn.Module):
    """A zero, repeated to a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.tensor(0.0))
        self.zero: torch.Tensor

    def forward(self, shape: torch.Tensor) -> torch.Tensor:
        return self.zero.expand(to_ints(shape))


def _constant(node: Node) -> Function:
    for name, dtype in NUMBERS.items():
        if name in node.attributes:
            return _Constant(torch.tensor(node.attributes[name], dtype=dtype))
    raise refuse(node, f"it has none of the attributes {', '.join(NUMBERS)}")


def arange(start: torch.Tensor, limit: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return the numbers from a start up to a limit, in steps."""
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype, device=start.device)


OPERATORS: dict[str, Operator] = {
    "Constant": Operator(_constant),
    "ConstantOfShape": Operator(lambda _: _Zeros(), sizes=(0,)),
    "Range": plain(arange),
}
