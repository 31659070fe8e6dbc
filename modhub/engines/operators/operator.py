"""`Operator`: how torch computes one ONNX operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from modhub.errors import UnsupportedOperator

if TYPE_CHECKING:
    import torch

    from modhub.network.network import Node

Function: TypeAlias = Callable[..., "torch.Tensor | tuple[torch.Tensor, ...]"]
"""Computes a node's outputs from its operands; an omitted operand is None or left out at the end."""


@dataclass(frozen=True)
class Operator:
    """One ONNX operator in torch.

    `bind` reads the attributes of a node and returns what computes it; it raises `UnsupportedOperator` for attributes
    that torch cannot follow. `sizes` are the positions of operands that hold sizes, axes or counts: their values are
    read by the host, so where they are arrays of the network they never move to an accelerator.
    """

    bind: Callable[[Node], Function]
    sizes: tuple[int, ...] = ()


def plain(function: Function, *, sizes: tuple[int, ...] = ()) -> Operator:
    """Return the operator without attributes that a torch function computes."""
    return Operator(lambda _: function, sizes=sizes)


def refuse(node: Node, reason: str) -> UnsupportedOperator:
    """Return the error for a node whose operator is known but used in a way that is not supported."""
    return UnsupportedOperator(f"{node.label} is not supported: {reason}")


def to_ints(tensor: torch.Tensor) -> list[int]:
    """Return a tensor of sizes or axes as Python numbers, whatever its rank."""
    return [int(value) for value in tensor.reshape(-1).tolist()]


def text(node: Node, name: str, default: str) -> str:
    """Return an attribute that is a string."""
    return str(node.attribute(name, default))
