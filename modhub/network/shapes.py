"""Shapes of every value of a network, with the batch dimension symbolic.

ONNX's own inference does the work. It is run with the batch fixed at a large prime, so that
every dimension comes out as a number even behind reshapes, and multiples of that prime are
turned back into the symbol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import InvalidNetwork
from modhub.network.network import BATCH
from modhub.network.onnx_file import to_model

if TYPE_CHECKING:
    import onnx

    from modhub.network.network import Network, Shape

BATCH_PRIME = 7919


def infer_shapes(network: Network) -> dict[str, Shape]:
    """Map every value, array and the input to its shape.

    Batch dimensions are the string ``"batch"``; a dimension that mixes the batch with others
    (for example after folding time into it) is ``"batch*K"``.

    Raises:
        InvalidNetwork: the shapes contradict each other or cannot be known before running.
    """
    symbolic = to_model(network, ranges=_no_ranges(network))
    shapes: dict[str, Shape] = {name: tuple(array.shape) for name, array in network.arrays.items()}
    for name, shape in concrete_shapes(symbolic, batch=BATCH_PRIME).items():
        shapes[name] = tuple(to_symbol(size) for size in shape)
    for node in network.nodes:
        for name in node.outputs:
            if name and name not in shapes:
                raise InvalidNetwork(f"the shape of {name!r}, made by {node.label}, cannot be known before running")
    return shapes


def infer_types(network: Network) -> dict[str, int]:
    """Map every value, array and the input to ONNX's number for its element type.

    Raises:
        InvalidNetwork: the types contradict each other.
    """
    model = to_model(network, ranges=_no_ranges(network))
    inferred = _inferred(model)
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}


def to_symbol(size: int) -> int | str:
    """Return a dimension with multiples of the batch stand-in as symbols."""
    if size == 0 or size % BATCH_PRIME:
        return size
    factor = size // BATCH_PRIME
    return BATCH if factor == 1 else f"{BATCH}*{factor}"


def concrete_shapes(model: onnx.ModelProto, *, batch: int) -> dict[str, tuple[int, ...]]:
    """Map values to fully known shapes when the first axis of the input has `batch` rows.

    Raises:
        InvalidNetwork: ONNX finds the graph's shapes inconsistent.
    """
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].ClearField("dim_param")
            dims[0].dim_value = batch
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    inferred = _inferred(model)
    found: dict[str, tuple[int, ...]] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, RuntimeError) as error:
        raise InvalidNetwork(f"its shapes are inconsistent: {str(error).strip().splitlines()[-1]}") from error


def _no_ranges(network: Network) -> dict[str, tuple[int, int]]:
    # Inference needs the shapes of the weights, never their values, so they are left out of the message.
    return dict.fromkeys(network.arrays, (0, 0))
