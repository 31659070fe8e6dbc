"""Every ONNX operator that torch can compute here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.engines.operators import (
    activations,
    arithmetic,
    constants,
    convolution,
    layout,
    linear,
    logic,
    normalisation,
    pooling,
    recurrent,
    reduction,
    resize,
    selection,
)
from modhub.errors import UnsupportedOperator

if TYPE_CHECKING:
    from modhub.engines.operators.operator import Operator
    from modhub.network.network import Node

OPERATORS: dict[str, Operator] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **constants.OPERATORS,
    **convolution.OPERATORS,
    **layout.OPERATORS,
    **linear.OPERATORS,
    **logic.OPERATORS,
    **normalisation.OPERATORS,
    **pooling.OPERATORS,
    **recurrent.OPERATORS,
    **reduction.OPERATORS,
    **resize.OPERATORS,
    **selection.OPERATORS,
}


def supported_operators() -> tuple[str, ...]:
    """Return the names of all operators of the default ONNX domain that torch can compute, in alphabetical order."""
    return tuple(sorted(OPERATORS))


def operator_of(node: Node) -> Operator:
    """Return how torch computes a node.

    Raises:
        UnsupportedOperator: it cannot.
    """
    if node.op not in OPERATORS:
        known = ", ".join(supported_operators())
        raise UnsupportedOperator(f"{node.label} is not supported; the supported operators are {known}")
    return OPERATORS[node.op]
