"""Operators that are defined by other operators, replaced by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import InvalidNetwork

if TYPE_CHECKING:
    import onnx

NEWER = ("Attention", "GroupNormalization", "RMSNormalization", "RotaryEmbedding")
"""Operators of later opsets that ONNX itself defines by those of opset 20."""


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without functions of its own, and without operators newer than normal form has.

    Raises:
        InvalidNetwork: a function cannot be replaced by its definition.
    """
    from onnx import inliner, shape_inference

    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        if any(node.op_type in NEWER and not node.domain for node in model.graph.node):
            # Definitions depend on types, of which the inliner knows those that are written down.
            model = shape_inference.infer_shapes(_with_array_types(model), data_prop=True)
            newer = [("", name) for name in NEWER]
            model = inliner.inline_selected_functions(model, newer, inline_schema_functions=True)
    except (RuntimeError, ValueError) as error:
        problem = str(error).strip().partition("\n")[0][:300]
        raise InvalidNetwork(f"has a function that cannot be replaced by its definition: {problem}") from error
    return model


def _with_array_types(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name for value in (*copy.graph.input, *copy.graph.value_info)}
    copy.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in copy.graph.initializer
        if tensor.name not in known
    )
    return copy
