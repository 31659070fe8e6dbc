"""How large the values of a graph may be. Asked before anything computes with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.network.onnx_file import to_model
from modhub.network.shapes import infer_shapes
from modhub.spec import limits
from modhub.spec.document import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modhub.network.network import Network, Shape


def checked_shapes(network: Network) -> dict[str, Shape]:
    """Return the shape of every value of a network, once all are within limits.

    Raises:
        FormatError: a value has too many elements or dimensions for one input, or an impossible size.
        InvalidNetwork: the shapes contradict each other, or cannot be known before running.
    """
    # Numbers that a graph computes with can double forty times; so their lengths come first, and the numbers after.
    for name, shape in _lengths(network):
        _check(name, shape)
    shapes = infer_shapes(network)
    for name in network.producers():
        _check(name, shapes[name])
    return shapes


def _lengths(network: Network) -> Iterable[tuple[str, Shape]]:
    from onnx import shape_inference

    model = to_model(network, ranges=dict.fromkeys(network.arrays, (0, 0)))
    try:
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=False, data_prop=False)
    except (shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise FormatError("has values whose shapes contradict each other") from error
    for value in inferred.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        yield value.name, tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)


def _check(name: str, shape: Shape) -> None:
    sizes = [_one_input(size) for size in shape]
    if len(sizes) > limits.TENSOR_RANK or min(sizes, default=0) < 0 or math.prod(sizes) > limits.VALUE_ELEMENTS:
        problem = f"has the shape {shown(str(list(shape)))}; at most {limits.VALUE_ELEMENTS} elements are allowed"
        raise FormatError(problem, where=f"value {shown(name)}")


def _one_input(size: int | str) -> int:
    """Return a dimension for one input: the batch counts as one."""
    return size if isinstance(size, int) else int(size.partition("*")[2] or 1)
