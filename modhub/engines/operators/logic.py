"""Comparisons, truth values and conversions between types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from modhub.engines.operators.operator import Operator, plain, refuse

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node

TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""ONNX element types (`TensorProto.DataType`) that torch computes with."""


def _cast(node: Node) -> Function:
    number = node.integer("to", 0)
    if number not in TYPES:
        raise refuse(node, f"it converts to element type {number}, torch can follow {sorted(TYPES)}")
    dtype = TYPES[number]
    return lambda value: value.to(dtype)


def cast_like(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the value in the type of another tensor."""
    return value.to(target.dtype)


def _is_inf(node: Node) -> Function:
    signs = [sign for sign in ("positive", "negative") if node.integer(f"detect_{sign}", 1)]
    functions = {
        (): lambda value: torch.zeros_like(value, dtype=torch.bool),
        ("positive",): torch.isposinf,
        ("negative",): torch.isneginf,
        ("positive", "negative"): torch.isinf,
    }
    return functions[tuple(signs)]


OPERATORS: dict[str, Operator] = {
    "And": plain(torch.logical_and),
    "BitwiseAnd": plain(torch.bitwise_and),
    "Cast": Operator(_cast),
    "CastLike": plain(cast_like),
    "Equal": plain(torch.eq),
    "Greater": plain(torch.gt),
    "GreaterOrEqual": plain(torch.ge),
    "IsInf": Operator(_is_inf),
    "IsNaN": plain(torch.isnan),
    "Less": plain(torch.lt),
    "LessOrEqual": plain(torch.le),
    "Not": plain(torch.logical_not),
    "Or": plain(torch.logical_or),
    "Where": plain(torch.where),
    "Xor": plain(torch.logical_xor),
}
