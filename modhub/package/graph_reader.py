"""A strict reader of `model.onnx`: what a package's graph may hold, and nothing else.

ONNX's checker and ONNX Runtime accept functions that call each other a billion times, fields they do not know, and
weights that point at any bytes. The rules here are an allow-list; each refuses a kind of file that the libraries take.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modhub.errors import FormatError, InvalidNetwork
from modhub.network.network import IR_VERSION, OPSET
from modhub.network.onnx_file import WEIGHTS_FILE, from_model
from modhub.package.operators import ALLOWED
from modhub.spec import limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx
    from google.protobuf.message import Message

    from modhub.network.network import Array, Network
    from modhub.package.safetensors_reader import Header
    from modhub.spec.ports import InputPort

GRAPH_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,200}")
DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
GRAPH_FIELD = 7
MODEL_FIELDS = frozenset({1, 2, 3, 7, 8, 14})
"""Fields of ModelProto: ir_version, producer name and version, graph, opset_import, metadata_props."""
FORBIDDEN_ATTRIBUTES = ("g", "graphs", "sparse_tensor", "sparse_tensors", "tp", "type_protos", "t", "tensors")


def read_graph(graph: bytes, header: Header, arrays: Mapping[str, Array], *, input_port: InputPort) -> Network:
    """Return the network of a graph whose arrays were read already.

    Raises:
        FormatError: the graph breaks a rule of the format; names the node, array or field.
    """
    model = _parse(graph)
    for problem in _problems(model):
        raise problem
    _check_references(model, header)
    try:
        return from_model(model, external=arrays, input_port=input_port)
    except InvalidNetwork as error:
        raise FormatError(error.problem) from error


def _parse(graph: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if len(graph) > limits.GRAPH_BYTES:
        raise FormatError(f"is {len(graph)} bytes long, at most {limits.GRAPH_BYTES} are allowed")
    fields = list(_top_level_fields(graph))
    if fields.count(GRAPH_FIELD) != 1 or set(fields) - MODEL_FIELDS:
        raise FormatError(f"is no plain ONNX model: its top-level fields are {sorted(fields)[:20]}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(graph)
    except DecodeError as error:
        raise FormatError("cannot be decoded as ONNX") from error
    if _has_unknown_fields(model):
        raise FormatError("holds fields that ONNX does not define")
    return model


def _top_level_fields(data: bytes) -> Iterator[int]:
    """Yield the field numbers of a protobuf message; it only counts, decoding is the library's work."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            _, position = _varint(data, position)
        elif kind == 2:
            length, position = _varint(data, position)
            position += length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise FormatError(f"is no ONNX model: unknown wire type {kind} at byte {position}")
        if position > len(data):
            raise FormatError("is no ONNX model: it ends inside a field")
        yield key >> 3


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise FormatError("is no ONNX model: a number in it has no end")


def _has_unknown_fields(message: Message) -> bool:
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            children: Iterable[Message] = value if field.is_repeated else (value,)
            if any(_has_unknown_fields(child) for child in children):
                return True
    return False


def _problems(model: onnx.ModelProto) -> Iterator[FormatError]:
    graph = model.graph
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    if opsets != [("", OPSET)]:
        yield FormatError(f"expected [('', {OPSET})], got {opsets[:5]}", where="opset_import")
    if model.ir_version != IR_VERSION:
        yield FormatError(f"expected {IR_VERSION}, got {model.ir_version}", where="ir_version")
    if len(graph.node) > limits.GRAPH_NODES or len(graph.initializer) > limits.GRAPH_TENSORS:
        yield FormatError(
            f"has {len(graph.node)} nodes and {len(graph.initializer)} arrays, at most {limits.GRAPH_NODES} and "
            f"{limits.GRAPH_TENSORS} are allowed"
        )
        return
    if graph.sparse_initializer or graph.quantization_annotation or graph.value_info:
        yield FormatError("holds sparse arrays, quantisation notes or value information", where="graph")
    if len(graph.input) != 1 or len(graph.output) != 1:
        yield FormatError(f"has {len(graph.input)} inputs and {len(graph.output)} outputs, expected one of each")
    yield from _text_problems(model)
    for node in graph.node:
        yield from _node_problems(node)
    yield from _order_problems(graph)


def _text_problems(model: onnx.ModelProto) -> Iterator[FormatError]:
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        if part.doc_string or part.metadata_props:
            name = repr(part.name)[:80]
            yield FormatError(f"{name} carries a doc string or metadata; exporters put local paths there", where="graph")
            return
    for entry in model.metadata_props:
        if len(entry.value.encode()) > limits.GRAPH_METADATA_BYTES or not GRAPH_NAME.fullmatch(entry.key):
            yield FormatError(f"entry {entry.key[:80]!r} is too long or badly named", where="metadata_props")


def _node_problems(node: onnx.NodeProto) -> Iterator[FormatError]:
    where = f"node {(node.name or '')[:80]!r}"
    if node.domain or node.op_type not in ALLOWED:
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        yield FormatError(f"uses the operator {operator[:80]!r}, which is not allowed in packages", where=where)
    for attribute in node.attribute:
        if any(attribute.HasField(f) if f in ("g", "sparse_tensor", "tp", "t") else len(getattr(attribute, f)) for f in FORBIDDEN_ATTRIBUTES):
            yield FormatError(f"has an attribute {attribute.name[:80]!r} that holds a graph or tensor", where=where)
        if len(attribute.s) > limits.GRAPH_TEXT_BYTES or attribute.doc_string or attribute.ref_attr_name:
            yield FormatError(f"has an attribute {attribute.name[:80]!r} with too long or foreign text", where=where)


def _order_problems(graph: onnx.GraphProto) -> Iterator[FormatError]:
    """Names are safe and made once; nodes only read what exists; the output is made."""
    known: set[str] = set()
    for value in (*graph.input, *graph.initializer):
        if not GRAPH_NAME.fullmatch(value.name) or value.name in known:
            yield FormatError(f"the name {value.name[:80]!r} is unsafe or used twice", where="graph")
            return
        known.add(value.name)
    for node in graph.node:
        missing = [name for name in node.input if name and name not in known]
        if missing:
            yield FormatError(f"reads {missing[0][:80]!r} before it is made", where=f"node {node.name[:80]!r}")
            return
        for name in node.output:
            if name and (name in known or not GRAPH_NAME.fullmatch(name)):
                yield FormatError(f"makes {name[:80]!r}, which is unsafe or exists already", where=f"node {node.name[:80]!r}")
                return
            known.add(name)
    if any(value.name not in known for value in graph.output):
        yield FormatError("declares an output that no node makes", where="graph")


def _check_references(model: onnx.ModelProto, header: Header) -> None:
    """Every external array is exactly the entry of the same name in the weights file, and every entry is used."""
    from onnx import TensorProto

    used = set()
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            _check_inline(tensor)
            continue
        where = f"array {tensor.name[:80]!r}"
        reference = [(entry.key, entry.value) for entry in tensor.external_data]
        found = dict(reference)
        entry = header.entries.get(tensor.name)
        if len(found) != len(reference) or set(found) != {"location", "offset", "length"} or entry is None:
            raise FormatError(f"must point at the entry of that name in {WEIGHTS_FILE}", where=where)
        exact = (WEIGHTS_FILE, str(entry.begin), str(entry.end - entry.begin))
        if (found["location"], found["offset"], found["length"]) != exact or not DECIMAL.fullmatch(found["offset"]):
            raise FormatError(f"points at {found}, its entry is at {exact}", where=where)
        if tensor.data_type != TensorProto.FLOAT or entry.dtype != "F32" or tuple(tensor.dims) != entry.shape:
            raise FormatError(f"is declared with shape {list(tensor.dims)}, its entry has {list(entry.shape)}", where=where)
        used.add(tensor.name)
    unused = set(header.entries) - used
    if unused:
        raise FormatError(f"{WEIGHTS_FILE} holds {sorted(unused)[0]!r}, which the graph does not use")


def _check_inline(tensor: onnx.TensorProto) -> None:
    import math

    import numpy as np
    from onnx import TensorProto, numpy_helper

    where = f"array {tensor.name[:80]!r}"
    allowed = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
    count = math.prod(tensor.dims)
    if tensor.data_type not in allowed or tensor.external_data or count > limits.INLINE_ELEMENTS or min(tensor.dims, default=0) < 0:
        raise FormatError("is kept inside the graph but is no small array of float32, int32, int64 or bool", where=where)
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise FormatError("has data that does not fit its shape", where=where) from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FormatError("holds NaN or infinity", where=where)
