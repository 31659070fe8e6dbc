"""Element-wise arithmetic."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from modhub.engines.operators.operator import Operator, plain

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node


def divide(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the quotient; that of whole numbers is cut towards zero."""
    if left.is_floating_point():
        return torch.true_divide(left, right)
    return torch.div(left, right, rounding_mode="trunc")


def power(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """Return the power in the type of the base."""
    return torch.pow(base, exponent).to(base.dtype)


def modulo(node: Node) -> Function:
    """Return the remainder with the sign of the divisor, or of the dividend where `fmod` is set."""
    return torch.fmod if node.integer("fmod", 0) else torch.remainder


def maximum(*operands: torch.Tensor) -> torch.Tensor:
    """Return the element-wise maximum of any number of tensors."""
    return functools.reduce(torch.maximum, operands)


def minimum(*operands: torch.Tensor) -> torch.Tensor:
    """Return the element-wise minimum of any number of tensors."""
    return functools.reduce(torch.minimum, operands)


def total(*operands: torch.Tensor) -> torch.Tensor:
    """Return the element-wise sum of any number of tensors."""
    return functools.reduce(torch.add, operands)


def mean(*operands: torch.Tensor) -> torch.Tensor:
    """Return the element-wise mean of any number of tensors."""
    return total(*operands) / len(operands)


OPERATORS: dict[str, Operator] = {
    "Abs": plain(torch.abs),
    "Acos": plain(torch.acos),
    "Acosh": plain(torch.acosh),
    "Add": plain(torch.add),
    "Asin": plain(torch.asin),
    "Asinh": plain(torch.asinh),
    "Atan": plain(torch.atan),
    "Atanh": plain(torch.atanh),
    "Ceil": plain(torch.ceil),
    "Cos": plain(torch.cos),
    "Cosh": plain(torch.cosh),
    "Div": plain(divide),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Floor": plain(torch.floor),
    "Log": plain(torch.log),
    "Max": plain(maximum),
    "Mean": plain(mean),
    "Min": plain(minimum),
    "Mod": Operator(modulo),
    "Mul": plain(torch.mul),
    "Neg": plain(torch.neg),
    "Pow": plain(power),
    "Reciprocal": plain(torch.reciprocal),
    "Round": plain(torch.round),
    "Sign": plain(torch.sign),
    "Sin": plain(torch.sin),
    "Sinh": plain(torch.sinh),
    "Sqrt": plain(torch.sqrt),
    "Sub": plain(torch.sub),
    "Sum": plain(total),
    "Tan": plain(torch.tan),
}
