"""Reductions along axes, and what orders or accumulates along one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch

from modhub.engines.operators.operator import Operator, to_ints

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node

Reduce: TypeAlias = Callable[[torch.Tensor, "tuple[int, ...]"], torch.Tensor]
"""Reduces some axes, keeping each with length 1."""


def _reduction(reduce: Reduce) -> Operator:
    def bind(node: Node) -> Function:
        keeps = bool(node.integer("keepdims", 1))
        is_noop = bool(node.integer("noop_with_empty_axes", 0))

        def compute(value: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
            chosen = tuple(to_ints(axes)) if axes is not None else node.ints("axes", ())
            if not chosen and not is_noop:
                chosen = tuple(range(value.ndim))
            reduced = reduce(value, chosen)
            return reduced if keeps or not chosen else reduced.squeeze(chosen)

        return compute

    return Operator(bind, sizes=(1,))


def reduce_sum(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the sum along axes."""
    # torch reads "no axes" as "all axes".
    return value.sum(axes, keepdim=True, dtype=value.dtype) if axes else value


def reduce_mean(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the mean along axes."""
    return value.mean(axes, keepdim=True) if axes else value


def reduce_max(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the maximum along axes."""
    return value.amax(axes, keepdim=True) if axes else value


def reduce_min(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the minimum along axes."""
    return value.amin(axes, keepdim=True) if axes else value


def reduce_product(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the product along axes."""
    for axis in axes:
        value = value.prod(axis, keepdim=True, dtype=value.dtype)
    return value


def reduce_log_sum_exp(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the logarithm of the sum of exponentials along axes."""
    return value.logsumexp(axes, keepdim=True) if axes else value


def _extremum(find: Callable[..., torch.Tensor]) -> Operator:
    def bind(node: Node) -> Function:
        axis, keeps = node.integer("axis", 0), bool(node.integer("keepdims", 1))
        takes_last = bool(node.integer("select_last_index", 0))

        def compute(value: torch.Tensor) -> torch.Tensor:
            if not takes_last:
                return find(value, dim=axis, keepdim=keeps)
            return value.shape[axis] - 1 - find(value.flip(axis), dim=axis, keepdim=keeps)

        return compute

    return Operator(bind)


def _top_k(node: Node) -> Function:
    axis, largest = node.integer("axis", -1), bool(node.integer("largest", 1))

    def compute(value: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # Of equal elements ONNX wants the first; torch.topk promises none, a stable sort does.
        values, indices = torch.sort(value, dim=axis, descending=largest, stable=True)
        (length,) = to_ints(count)
        return values.narrow(axis, 0, length), indices.narrow(axis, 0, length)

    return compute


def _cumulative_sum(node: Node) -> Function:
    is_exclusive, is_reversed = node.integer("exclusive", 0), node.integer("reverse", 0)

    def compute(value: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
        (along,) = to_ints(axis)
        ordered = value.flip(along) if is_reversed else value
        sums = ordered.cumsum(along, dtype=value.dtype)
        sums = sums - ordered if is_exclusive else sums
        return sums.flip(along) if is_reversed else sums

    return compute


OPERATORS: dict[str, Operator] = {
    "ArgMax": _extremum(torch.argmax),
    "ArgMin": _extremum(torch.argmin),
    "CumSum": Operator(_cumulative_sum, sizes=(1,)),
    "ReduceL1": _reduction(lambda value, axes: reduce_sum(value.abs(), axes)),
    "ReduceL2": _reduction(lambda value, axes: reduce_sum(value.square(), axes).sqrt()),
    "ReduceLogSum": _reduction(lambda value, axes: reduce_sum(value, axes).log()),
    "ReduceLogSumExp": _reduction(reduce_log_sum_exp),
    "ReduceMax": _reduction(reduce_max),
    "ReduceMean": _reduction(reduce_mean),
    "ReduceMin": _reduction(reduce_min),
    "ReduceProd": _reduction(reduce_product),
    "ReduceSum": _reduction(reduce_sum),
    "ReduceSumSquare": _reduction(lambda value, axes: reduce_sum(value.square(), axes)),
    "TopK": Operator(_top_k, sizes=(1,)),
}
