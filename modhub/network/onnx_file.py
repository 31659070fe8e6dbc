"""A `Network` as ONNX bytes, and back.

Two byte strings stand for one network: a graph (`model.onnx`) and its arrays
(`weights.safetensors`). The graph's float arrays are ONNX external data that point into the
safetensors file, so ONNX Runtime, torch and every safetensors reader share one copy. Small
integer arrays (shapes, axes) and scalars stay inside the graph, because shape inference
reads them. Writing is deterministic: equal networks give equal bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import InvalidNetwork
from modhub.network.network import BATCH, IR_VERSION, OPSET, Network, Node
from modhub.network.pages import pieces
from modhub.network.weights_file import weight_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from modhub.network.network import Array, Attribute, Shape
    from modhub.spec.ports import InputPort

WEIGHTS_FILE = "weights.safetensors"


def is_inline(array: Array) -> bool:
    """Tell whether an array travels inside the graph rather than in the weights file.

    Weights are floats, or matrices of eight-bit integers.
    """
    return array.ndim == 0 or (array.dtype.kind != "f" and not is_quantised(array))


def is_quantised(array: Array) -> bool:
    """Tell whether an array holds weights in eight bits."""
    return array.dtype == np.int8 and array.ndim > 1


def to_onnx(network: Network, *, weights_file: str = WEIGHTS_FILE) -> tuple[bytes, bytes]:
    """Return `(graph, weights)`: the bytes of `model.onnx` and of `weights.safetensors`.

    A network without float arrays has an empty but valid weights file. `weights_file` is what the graph calls it.
    """
    graph, parts = _parts(network, weights_file=weights_file)
    return graph, b"".join(parts)


def _parts(network: Network, *, weights_file: str = WEIGHTS_FILE) -> tuple[bytes, list[bytes | memoryview]]:
    """Return the bytes of `model.onnx`, and those of `weights.safetensors` in parts."""
    outside = {name: array for name, array in network.arrays.items() if not is_inline(array)}
    parts, ranges = weight_parts(outside)
    model = to_model(network, ranges=ranges, weights_file=weights_file)
    return model.SerializeToString(deterministic=True), parts


def to_model(
    network: Network, *, ranges: Mapping[str, tuple[int, int]] | None = None, weights_file: str = WEIGHTS_FILE
) -> onnx.ModelProto:
    """Return the network as an ONNX model.

    With `ranges`, weights refer to the weights file; without, everything is inside.
    """
    from onnx import TensorProto, helper

    element = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}[network.input.dtype]
    graph = helper.make_graph(
        [_node(node) for node in network.nodes],
        "network",
        [helper.make_tensor_value_info(network.input.name, element, list(network.input.shape))],
        [helper.make_tensor_value_info(network.output, TensorProto.FLOAT, list(network.output_shape))],
        [_tensor(name, array, ranges, weights_file) for name, array in network.arrays.items()],
    )
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="modhub"
    )
    helper.set_model_props(model, dict(sorted(network.metadata.items())))
    return model


def _node(node: Node) -> onnx.NodeProto:
    from onnx import helper

    proto = helper.make_node(node.op, node.inputs, node.outputs, name=node.name or None)
    proto.attribute.extend(helper.make_attribute(name, value) for name, value in sorted(node.attributes.items()))
    return proto


def _tensor(
    name: str, array: Array, ranges: Mapping[str, tuple[int, int]] | None, weights_file: str
) -> onnx.TensorProto:
    from onnx import TensorProto, helper, numpy_helper

    if ranges is None or is_inline(array):
        return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
    offset, length = ranges[name]
    tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", weights_file), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def from_onnx(graph: bytes, weights: bytes, *, input_port: InputPort) -> Network:
    """Return the network that `to_onnx` wrote.

    Args:
        graph: bytes of `model.onnx`, already checked by the package reader.
        weights: bytes of `weights.safetensors`.
        input_port: the input contract from the manifest; ONNX has no place for all of it.

    Raises:
        InvalidNetwork: the graph is no ONNX, names an array the weights lack, or uses features outside normal form.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        model = onnx.load_model_from_string(graph)
        arrays = load(weights)
    except (DecodeError, SafetensorError) as error:
        raise InvalidNetwork(f"cannot be read: {error}") from error
    return from_model(model, external=arrays, input_port=input_port)


def from_model(model: onnx.ModelProto, *, external: Mapping[str, Array], input_port: InputPort) -> Network:
    """Return an ONNX model as a network, taking external arrays from `external` by name.

    Raises:
        InvalidNetwork: an external array is missing, or a node is not of the default domain.
    """
    from onnx import TensorProto, numpy_helper

    arrays: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            arrays[tensor.name] = numpy_helper.to_array(tensor)
        elif tensor.name in external and external[tensor.name].shape == tuple(tensor.dims):
            arrays[tensor.name] = external[tensor.name]
        else:
            raise InvalidNetwork(f"array {tensor.name!r} of shape {tuple(tensor.dims)} is not in {WEIGHTS_FILE}")
    output = model.graph.output[0]
    return Network(
        nodes=tuple(to_node(node) for node in model.graph.node),
        arrays=arrays,
        input=input_port,
        output=output.name,
        output_shape=_declared_shape(output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def to_node(node: onnx.NodeProto) -> Node:
    """Return one ONNX node as a value.

    Raises:
        InvalidNetwork: the node belongs to another domain or holds a subgraph or tensor attribute.
    """
    if node.domain not in ("", "ai.onnx"):
        raise InvalidNetwork(f"{node.op_type} node {node.name!r} belongs to the operator domain {node.domain!r}")
    attributes = {attribute.name: _attribute(node, attribute) for attribute in node.attribute}
    return Node(
        op=node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=dict(sorted(attributes.items())),
        name=node.name,
    )


def _attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> Attribute:
    from onnx import AttributeProto, helper

    if attribute.type in (AttributeProto.TENSOR, AttributeProto.GRAPH, AttributeProto.SPARSE_TENSOR):
        kind = AttributeProto.AttributeType.Name(attribute.type).lower()
        raise InvalidNetwork(f"{node.op_type} node {node.name!r} holds a {kind} attribute {attribute.name!r}")
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float)):
        return value
    return tuple(item.decode() if isinstance(item, bytes) else item for item in value)


def _declared_shape(value: onnx.ValueInfoProto) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else BATCH) for dim in dims)


def fingerprint(network: Network) -> str:
    """Return the sha256 that identifies a network: its graph and every array, without metadata."""
    graph, parts = _parts(network.replace(metadata={}))
    weights = hashlib.sha256()
    for part in parts:
        for piece in pieces(part):
            weights.update(piece)
    return hashlib.sha256(hashlib.sha256(graph).digest() + weights.digest()).hexdigest()
