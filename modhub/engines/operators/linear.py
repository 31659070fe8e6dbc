"""Products of matrices."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from modhub.engines.operators.operator import Operator, plain, text

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node


def _gemm(node: Node) -> Function:
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    transposes_left, transposes_right = node.integer("transA", 0), node.integer("transB", 0)

    def compute(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        rows = left.T if transposes_left else left
        weight = right if transposes_right else right.T
        if alpha == beta == 1.0 and bias is not None and bias.shape == weight.shape[:1]:
            return functional.linear(rows, weight, bias)
        product = functional.linear(rows, weight)
        product = product if alpha == 1.0 else alpha * product
        return product if bias is None else product + beta * bias

    return compute


def _einsum(node: Node) -> Function:
    return functools.partial(torch.einsum, text(node, "equation", ""))


OPERATORS: dict[str, Operator] = {
    "Einsum": Operator(_einsum),
    "Gemm": Operator(_gemm),
    "MatMul": plain(torch.matmul),
}
