"""Constant folding on the ONNX model, the shape arithmetic of exporters included.

Exporters compute targets of reshapes, class tokens and initial states from the shape of their input. All of that is
evaluated here for two sizes of the batch: what comes out equal is a constant, and what follows the batch is handed to
`modhub.network.passes.batch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import InvalidNetwork, UnsupportedOperator
from modhub.network.model_file import outline
from modhub.network.network import OPSET
from modhub.network.passes.batch import BATCHES, free_of_batch
from modhub.network.shapes import concrete_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

    from modhub.network.network import Array
    from modhub.network.passes.batch import Pairs

MAX_FOLDED_ELEMENTS = 2**28
"""A folded array may not be larger: a graph of a few bytes could otherwise fill the memory."""

ROUNDS = 16
RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
GROWING = frozenset({"ConstantOfShape", "Expand", "Tile"})


def without_weights(model: onnx.ModelProto, outside: Mapping[str, Array]) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return the model with every large array as external data, and all arrays by name.

    The libraries copy a model at every step; this way the weights are not copied with it. `outside` are the arrays
    that are external data already.
    """
    from onnx import TensorProto, numpy_helper

    arrays = {
        tensor.name: outside[tensor.name]
        if tensor.data_location == TensorProto.EXTERNAL
        else numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
    }
    light = _empty(model)
    light.graph.node.extend(model.graph.node)
    light.graph.initializer.extend(outline(name, array) for name, array in arrays.items())
    return light, arrays


def fold_constants(model: onnx.ModelProto, arrays: Mapping[str, Array]) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return the model with every node computed whose result does not depend on the input's values, and its arrays.

    Args:
        model: large arrays are external data, before and after.
        arrays: those arrays.

    Raises:
        InvalidNetwork: shapes contradict each other, a folded array would be too large, or the size of the batch
            reaches something that cannot be made static.
        UnsupportedOperator: a constant node cannot be evaluated.
    """
    from onnx import TensorProto, numpy_helper

    known: Pairs = {}
    for tensor in model.graph.initializer:
        is_outside = tensor.data_location == TensorProto.EXTERNAL
        known[tensor.name] = (arrays[tensor.name] if is_outside else numpy_helper.to_array(tensor),) * 2
    nodes = list(model.graph.node)
    for _ in range(ROUNDS):
        shapes = [_shapes(model, nodes, known, which) for which in (0, 1)]
        kept = []
        for node in nodes:
            values = _evaluate(node, known, shapes)
            if values is None:
                kept.append(node)
            else:
                known.update(values)
        done = len(kept) == len(nodes)
        nodes = kept
        if done:
            break
    return _rebuilt(model, *free_of_batch(nodes, known, shapes[0]))


def _shapes(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], known: Pairs, which: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all values for one size of the batch."""
    used = {name for node in nodes for name in node.input}
    skeleton = _empty(model)
    skeleton.graph.node.extend(nodes)
    skeleton.graph.initializer.extend(outline(name, known[name][which]) for name in known if name in used)
    shapes = concrete_shapes(skeleton, batch=BATCHES[which])
    return {**shapes, **{name: pair[which].shape for name, pair in known.items()}}


def _empty(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without nodes and arrays."""
    import onnx

    copy = onnx.ModelProto(ir_version=model.ir_version)
    copy.opset_import.extend(model.opset_import)
    copy.graph.name = "network"
    arrays = {tensor.name for tensor in model.graph.initializer}
    copy.graph.input.extend(value for value in model.graph.input if value.name not in arrays)
    copy.graph.output.extend(model.graph.output)
    return copy


def _rebuilt(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], arrays: Mapping[str, Array]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    used = {name for node in nodes for name in node.input}
    kept = {name: array for name, array in arrays.items() if name in used}
    folded = _empty(model)
    folded.graph.node.extend(nodes)
    folded.graph.initializer.extend(outline(name, array) for name, array in kept.items())
    return folded, kept


def _evaluate(
    node: onnx.NodeProto, known: Pairs, shapes: Sequence[Mapping[str, tuple[int, ...]]]
) -> dict[str, tuple[Array, Array]] | None:
    """Return the node's outputs for both sizes of the batch, or None where they depend on the input's values."""
    if node.op_type in ("Shape", "Size") and all(node.input[0] in found for found in shapes):
        return {node.output[0]: (_shape(node, shapes[0]), _shape(node, shapes[1]))}
    if node.op_type in RANDOM or not all(name in known for name in node.input if name):
        return None
    first = _run(node, {name: known[name][0] for name in node.input if name})
    if all(known[name][0] is known[name][1] for name in node.input if name):
        return {name: (value, value) for name, value in first.items()}
    second = _run(node, {name: known[name][1] for name in node.input if name})
    return {name: (first[name], second[name]) for name in first}


def _shape(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> Array:
    shape = np.array(shapes[node.input[0]], dtype=np.int64)
    if node.op_type == "Size":
        return np.array(shape.prod(), dtype=np.int64)
    slices = {attribute.name: attribute.i for attribute in node.attribute}
    return shape[slices.get("start", 0) : slices.get("end", len(shape))]


def _run(node: onnx.NodeProto, inputs: dict[str, Array]) -> dict[str, Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type in GROWING:
        _refuse_large(node, inputs)
    outputs = [name for name in node.output if name]
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
        for name, array in inputs.items()
    ]
    graph = helper.make_graph(
        [node], "constant", values, [helper.make_empty_tensor_value_info(name) for name in outputs]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    try:
        results = ReferenceEvaluator(model).run(outputs, inputs)
    except Exception as error:  # The evaluator raises whatever numpy raises; this is its seam.
        raise UnsupportedOperator(f"constant {node.op_type} node {node.name!r} cannot be evaluated: {error}") from error
    return dict(zip(outputs, (np.asarray(result) for result in results), strict=True))


def _refuse_large(node: onnx.NodeProto, inputs: Mapping[str, Array]) -> None:
    sizes = inputs[node.input[-1]]
    own = inputs[node.input[0]].size if node.op_type == "Tile" else 1
    if own * float(np.prod(sizes.astype(np.float64))) > MAX_FOLDED_ELEMENTS:
        shape = sizes.tolist()[:8]
        raise InvalidNetwork(f"{node.op_type} node {node.name!r} makes a constant of shape {shape}, which is too large")
