"""Activations: element-wise nonlinear functions, and softmax.

None works in place, because a value may have several consumers.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from modhub.engines.operators.operator import Operator, plain, text

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


def clip(value: torch.Tensor, lowest: torch.Tensor | None = None, highest: torch.Tensor | None = None) -> torch.Tensor:
    """Return the value held between two bounds, either of which may be absent."""
    if lowest is None and highest is None:
        return value
    return torch.clamp(value, min=lowest, max=highest)


def hard_sigmoid(value: torch.Tensor, *, alpha: float, beta: float) -> torch.Tensor:
    """Return ``alpha * value + beta`` held between 0 and 1."""
    return torch.clamp(alpha * value + beta, 0.0, 1.0)


def prelu(value: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Return the value, times a slope where it is negative; the slope broadcasts from the last axis."""
    return torch.where(value < 0, value * slope, value)


def _leaky_relu(node: Node) -> Function:
    return functools.partial(functional.leaky_relu, negative_slope=node.number("alpha", 0.01))


def _elu(node: Node) -> Function:
    return functools.partial(functional.elu, alpha=node.number("alpha", 1.0))


def _celu(node: Node) -> Function:
    return functools.partial(functional.celu, alpha=node.number("alpha", 1.0))


def _selu(node: Node) -> Function:
    alpha, gamma = node.number("alpha", SELU_ALPHA), node.number("gamma", SELU_GAMMA)
    return lambda value: gamma * functional.elu(value, alpha)


def _hard_sigmoid(node: Node) -> Function:
    return functools.partial(hard_sigmoid, alpha=node.number("alpha", 0.2), beta=node.number("beta", 0.5))


def _thresholded_relu(node: Node) -> Function:
    return functools.partial(functional.threshold, threshold=node.number("alpha", 1.0), value=0.0)


def _gelu(node: Node) -> Function:
    return functools.partial(functional.gelu, approximate=text(node, "approximate", "none"))


def _softmax(node: Node) -> Function:
    return functools.partial(torch.softmax, dim=node.integer("axis", -1))


def _log_softmax(node: Node) -> Function:
    return functools.partial(torch.log_softmax, dim=node.integer("axis", -1))


OPERATORS: dict[str, Operator] = {
    "Celu": Operator(_celu),
    "Clip": plain(clip),
    "Elu": Operator(_elu),
    "Gelu": Operator(_gelu),
    "HardSigmoid": Operator(_hard_sigmoid),
    "HardSwish": plain(functional.hardswish),
    "LeakyRelu": Operator(_leaky_relu),
    "LogSoftmax": Operator(_log_softmax),
    "Mish": plain(functional.mish),
    "PRelu": plain(prelu),
    "Relu": plain(torch.relu),
    "Selu": Operator(_selu),
    "Sigmoid": plain(torch.sigmoid),
    "Softmax": Operator(_softmax),
    "Softplus": plain(functional.softplus),
    "Softsign": plain(functional.softsign),
    "Tanh": plain(torch.tanh),
    "ThresholdedRelu": Operator(_thresholded_relu),
}
