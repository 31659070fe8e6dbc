"""Normalisations, all as they are at inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from modhub.engines.operators.operator import Operator, refuse

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node


def _batch_normalization(node: Node) -> Function:
    if node.integer("training_mode", 0) or len(node.outputs) > 1:
        raise refuse(node, "it is in training mode")
    epsilon = node.number("epsilon", 1e-5)

    def compute(
        value: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
    ) -> torch.Tensor:
        # torch's own batch_norm has no gradient for the mean and the variance.
        shape = (-1, *[1] * (value.ndim - 2))
        factor = scale * torch.rsqrt(variance + epsilon)
        return value * factor.reshape(shape) + (bias - mean * factor).reshape(shape)

    return compute


def _layer_normalization(node: Node) -> Function:
    axis, epsilon = node.integer("axis", -1), node.number("epsilon", 1e-5)
    is_single = len(node.outputs) == 1

    def compute(
        value: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        shape = value.shape[axis:]
        normalised = functional.layer_norm(value, shape, eps=epsilon) * scale
        normalised = normalised if bias is None else normalised + bias
        if is_single:
            return normalised
        axes = tuple(range(-len(shape), 0))
        mean, variance = value.mean(axes, keepdim=True), value.var(axes, correction=0, keepdim=True)
        return normalised, mean, torch.rsqrt(variance + epsilon)

    return compute


def _group_normalization(node: Node) -> Function:
    groups, epsilon = node.integer("num_groups", 1), node.number("epsilon", 1e-5)

    def compute(value: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        channels = value.shape[1]
        # Opset 18 had one scale and bias per group, opset 21 corrected that to one per channel.
        repeats = channels // scale.shape[0]
        scale, bias = scale.repeat_interleave(repeats), bias.repeat_interleave(repeats)
        return _group_norm(value, groups, scale, bias, epsilon)

    return compute


def _instance_normalization(node: Node) -> Function:
    epsilon = node.number("epsilon", 1e-5)

    def compute(value: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return _group_norm(value, value.shape[1], scale, bias, epsilon)

    return compute


def _group_norm(
    value: torch.Tensor, groups: int, scale: torch.Tensor, bias: torch.Tensor, epsilon: float
) -> torch.Tensor:
    # torch's own group_norm refuses groups of one element, ONNX does not.
    batch, channels, *size = value.shape
    grouped = value.reshape(batch, groups, -1)
    normalised = functional.layer_norm(grouped, grouped.shape[2:], eps=epsilon).reshape(value.shape)
    shape = (channels, *[1] * len(size))
    return normalised * scale.reshape(shape) + bias.reshape(shape)


def _lrn(node: Node) -> Function:
    size, alpha = node.integer("size", 1), node.number("alpha", 1e-4)
    beta, offset = node.number("beta", 0.75), node.number("bias", 1.0)

    def compute(value: torch.Tensor) -> torch.Tensor:
        around = [0, 0] * (value.ndim - 2) + [(size - 1) // 2, size // 2]
        squares = functional.pad(value.square(), around).unfold(1, size, 1).sum(-1)
        return value / (offset + alpha / size * squares) ** beta

    return compute


def _mean_variance_normalization(node: Node) -> Function:
    axes = node.ints("axes", (0, 2, 3))

    def compute(value: torch.Tensor) -> torch.Tensor:
        centred = value - value.mean(axes, keepdim=True)
        return centred / (value.std(axes, correction=0, keepdim=True) + 1e-9)

    return compute


def _lp_normalization(node: Node) -> Function:
    axis, power = node.integer("axis", -1), node.integer("p", 2)

    def compute(value: torch.Tensor) -> torch.Tensor:
        return functional.normalize(value, p=float(power), dim=axis)

    return compute


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": Operator(_batch_normalization),
    "GroupNormalization": Operator(_group_normalization),
    "InstanceNormalization": Operator(_instance_normalization),
    "LRN": Operator(_lrn),
    "LayerNormalization": Operator(_layer_normalization),
    "LpNormalization": Operator(_lp_normalization),
    "MeanVarianceNormalization": Operator(_mean_variance_normalization),
}
