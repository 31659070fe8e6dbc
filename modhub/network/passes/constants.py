"""Constant folding on the ONNX model, shape arithmetic of exporters included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import InvalidNetwork, UnsupportedOperator
from modhub.network.shapes import BATCH_PRIME, concrete_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from modhub.network.network import Array

MAX_FOLDED_ELEMENTS = 2**24
"""A folded array may not be larger: a graph of a few bytes could otherwise fill the memory."""

OTHER_PRIME = 7907
ROUNDS = 8
RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"})


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with every node computed whose result does not depend on the input's values.

    Exporters compute the targets of reshapes from the shape of their input. Such arithmetic is evaluated for two
    batch sizes: what comes out equal is a constant; a reshape target that differs only in the batch becomes ``0`` or
    ``-1`` there.

    Raises:
        InvalidNetwork: shapes contradict each other, or a folded array would be too large.
        UnsupportedOperator: a constant node cannot be evaluated.
    """
    for _ in range(ROUNDS):
        before = len(model.graph.node)
        model = _fold_once(model)
        if len(model.graph.node) == before:
            break
    return model


def _fold_once(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    from onnx import numpy_helper

    shapes = [_shapes(model, batch) for batch in (BATCH_PRIME, OTHER_PRIME)]
    known = {tensor.name: (numpy_helper.to_array(tensor),) * 2 for tensor in model.graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        values = _evaluate(node, known, shapes)
        if values is not None and all(np.array_equal(a, b) for a, b in values.values()):
            known.update(values)
            continue
        if values is not None:
            known.update(values)
        kept.append(node)
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    del folded.graph.node[:], folded.graph.initializer[:], folded.graph.value_info[:]
    folded.graph.node.extend(kept)
    _settle_reshapes(folded, known, shapes[0])
    _store_used(folded, known)
    return folded


def _shapes(model: onnx.ModelProto, batch: int) -> dict[str, tuple[int, ...]]:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return concrete_shapes(copy, batch=batch)


def _evaluate(
    node: onnx.NodeProto,
    known: Mapping[str, tuple[Array, ...]],
    shapes: list[dict[str, tuple[int, ...]]],
) -> dict[str, tuple[Array, Array]] | None:
    """Return the node's outputs for both batch sizes, or None where they depend on the input's values."""
    if node.op_type in ("Shape", "Size") and all(node.input[0] in found for found in shapes):
        return {node.output[0]: (_shape(node, shapes[0]), _shape(node, shapes[1]))}
    if node.op_type in RANDOM or not all(name in known for name in node.input if name):
        return None
    first, second = (_run(node, {name: known[name][i] for name in node.input if name}) for i in (0, 1))
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

    from modhub.network.network import OPSET

    if node.op_type in ("ConstantOfShape", "Expand", "Tile"):
        _refuse_large(node, inputs)
    outputs = [name for name in node.output if name]
    values = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), None) for name, a in inputs.items()]
    graph = helper.make_graph([node], "constant", values, [helper.make_empty_tensor_value_info(name) for name in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    try:
        results = ReferenceEvaluator(model).run(outputs, inputs)
    except Exception as error:  # The evaluator raises whatever numpy raises; this is its seam.
        raise UnsupportedOperator(f"constant {node.op_type} node {node.name!r} cannot be evaluated: {error}") from error
    return dict(zip(outputs, (np.asarray(result) for result in results), strict=True))


def _refuse_large(node: onnx.NodeProto, inputs: Mapping[str, Array]) -> None:
    sizes = inputs[node.input[-1]]
    base = 1 if node.op_type != "Tile" else inputs[node.input[0]].size
    if base * int(np.prod(sizes.astype(np.float64))) > MAX_FOLDED_ELEMENTS * BATCH_PRIME:
        raise InvalidNetwork(f"{node.op_type} node {node.name!r} makes a constant of shape {sizes.tolist()[:8]}, which is too large")


def _settle_reshapes(
    model: onnx.ModelProto, known: dict[str, tuple[Array, Array]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in known:
            first, second = known[node.input[1]]
            if not np.array_equal(first, second):
                name = f"{node.output[0]}.shape"
                keeps_batch = shapes.get(node.input[0], (0,))[0] == BATCH_PRIME
                known[name] = (_batch_free(node, first, second, keeps_batch=keeps_batch),) * 2
                node.input[1] = name


def _batch_free(node: onnx.NodeProto, first: Array, second: Array, *, keeps_batch: bool) -> Array:
    """Return a reshape's target without the batch size: ``0`` copies the first axis, ``-1`` takes what is left."""
    differs = np.flatnonzero(first != second).tolist()
    target = first.astype(np.int64)
    if differs == [0] and keeps_batch and first[0] == BATCH_PRIME:
        target[0] = 0
    elif len(differs) == 1 and -1 not in first:
        target[differs[0]] = -1
    else:
        problem = f"moves the batch in a way that cannot be made static: {first.tolist()}"
        raise InvalidNetwork(f"Reshape node {node.name!r} {problem}")
    return target


def _store_used(model: onnx.ModelProto, known: Mapping[str, tuple[Array, Array]]) -> None:
    from onnx import numpy_helper

    used = {name for node in model.graph.node for name in node.input}
    made = {name for node in model.graph.node for name in node.output}
    names = [name for name in known if name in used and name not in made]
    for name in names:
        first, second = known[name]
        if first.size > MAX_FOLDED_ELEMENTS * 16:
            raise InvalidNetwork(f"the constant {name!r} holds {first.size} elements, which is too large")
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(first).reshape(first.shape), name))
    inputs = [value for value in model.graph.input if value.name not in known]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
