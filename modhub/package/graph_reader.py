"""A strict reader of `model.onnx`: what a package's graph may hold, and nothing else.

ONNX's checker and ONNX Runtime accept functions that call each other a billion times, fields they do not know, and
weights that point at any bytes. The rules here are an allow-list; each refuses a kind of file that the libraries take.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from modhub.errors import FormatError, InvalidNetwork, InvalidPackage
from modhub.network.network import IR_VERSION, OPSET
from modhub.network.onnx_file import WEIGHTS_FILE, from_model
from modhub.package.operators import ALLOWED
from modhub.package.protobuf import check_message
from modhub.spec import limits
from modhub.spec.document import shown
from modhub.spec.names import ARRAY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx
    from onnx import checker

    from modhub.network.network import Array, Network
    from modhub.package.safetensors_reader import Header
    from modhub.spec.ports import InputPort

PRODUCER = re.compile(r"[A-Za-z0-9_./:+ -]{0,200}")
MODEL_FIELDS = frozenset("ir_version producer_name producer_version graph opset_import metadata_props".split())
"""No functions, no training information, nothing that runs before or beside the graph."""

FORBIDDEN_ATTRIBUTES = ("g", "graphs", "sparse_tensor", "sparse_tensors", "tp", "type_protos", "t", "tensors")
LISTS = {6: "floats", 7: "ints", 8: "strings"}
"""Types of attributes that are lists, and the fields that hold them."""


def read_graph(
    graph: bytes,
    header: Header,
    arrays: Mapping[str, Array],
    *,
    input_port: InputPort,
    weights_file: str = WEIGHTS_FILE,
) -> Network:
    """Return the network of a graph whose arrays were read already, from the file of weights that it names.

    Raises:
        InvalidPackage: the graph breaks rules of the format; every one is named with its node, array or field.
        FormatError: the graph is no plain ONNX model at all.
    """
    model = _parse(graph)
    problems = list(_problems(model, header, input_port, weights_file))
    if problems:
        raise InvalidPackage(problems)
    try:
        return from_model(model, external=arrays, input_port=input_port)
    except InvalidNetwork as error:
        raise FormatError(error.problem) from error


def _parse(graph: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if len(graph) > limits.GRAPH_BYTES:
        raise FormatError(f"is {len(graph)} bytes long, at most {limits.GRAPH_BYTES} are allowed")
    check_message(graph, onnx.ModelProto, limit=limits.GRAPH_FIELDS)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(graph)
    except DecodeError as error:
        raise FormatError("cannot be decoded as ONNX") from error
    surplus = {field.name for field, _ in model.ListFields()} - MODEL_FIELDS
    if surplus:
        raise FormatError(f"holds {', '.join(sorted(surplus))}, expected {', '.join(sorted(MODEL_FIELDS))} only")
    return model


def _problems(
    model: onnx.ModelProto, header: Header, input_port: InputPort, weights_file: str
) -> Iterator[FormatError]:
    from onnx import checker

    graph = model.graph
    if len(graph.node) > limits.GRAPH_NODES or len(graph.initializer) > limits.GRAPH_TENSORS:
        counts = f"{len(graph.node)} nodes and {len(graph.initializer)} arrays"
        allowed = f"{limits.GRAPH_NODES} and {limits.GRAPH_TENSORS}"
        yield FormatError(f"has {counts}, at most {allowed} are allowed")
        return
    yield from _version_problems(model)
    yield from _text_problems(model)
    if graph.sparse_initializer or graph.quantization_annotation or graph.value_info:
        yield FormatError("holds sparse arrays, quantisation notes or value information", where="graph")
    yield from _port_problems(graph, input_port)
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = IR_VERSION, {"": OPSET}
    for node in graph.node:
        yield from _node_problems(node, context)
    yield from _order_problems(graph)
    yield from _array_problems(graph, header, weights_file)


def _version_problems(model: onnx.ModelProto) -> Iterator[FormatError]:
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    if opsets != [("", OPSET)]:
        yield FormatError(f"expected [('', {OPSET})], got {shown(str(opsets))}", where="opset_import")
    if model.ir_version != IR_VERSION:
        yield FormatError(f"expected {IR_VERSION}, got {model.ir_version}", where="ir_version")


def _text_problems(model: onnx.ModelProto) -> Iterator[FormatError]:
    graph = model.graph
    for text in (model.producer_name, model.producer_version, graph.name):
        if not PRODUCER.fullmatch(text):
            yield FormatError(f"names producer or graph {shown(text)}, expected a few plain words")
    parts: list[onnx.GraphProto | onnx.NodeProto | onnx.TensorProto | onnx.ValueInfoProto]
    parts = [graph, *graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in parts:
        if part.doc_string or part.metadata_props:
            problem = f"{shown(part.name)} carries a doc string or metadata; exporters put local paths there"
            yield FormatError(problem, where="graph")
            break
    keys: set[str] = set()
    for entry in model.metadata_props:
        if len(entry.value.encode()) > limits.GRAPH_METADATA_BYTES or not ARRAY_NAME.fullmatch(entry.key):
            yield FormatError(f"the entry {shown(entry.key)} is too long or badly named", where="metadata_props")
        if entry.key in keys:
            yield FormatError(f"the entry {shown(entry.key)} occurs twice", where="metadata_props")
        keys.add(entry.key)


def _port_problems(graph: onnx.GraphProto, port: InputPort) -> Iterator[FormatError]:
    from onnx import TensorProto

    if len(graph.input) != 1 or len(graph.output) != 1:
        problem = f"has {len(graph.input)} inputs and {len(graph.output)} outputs, expected one of each"
        yield FormatError(problem, where="graph")
        return
    names: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64"}
    value, output = graph.input[0], graph.output[0].type
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    found = (value.name, names.get(tensor.elem_type, "another type"), shape)
    if found != (port.name, port.dtype, port.shape):
        problem = f"takes {shown(str(found))}, the manifest says {(port.name, port.dtype, port.shape)}"
        yield FormatError(problem, where="graph.input")
    if output.tensor_type.elem_type != TensorProto.FLOAT or value.type.denotation or output.denotation:
        yield FormatError("expected a float32 output, and no denotations", where="graph.output")


def _node_problems(node: onnx.NodeProto, context: checker.C.CheckerContext) -> Iterator[FormatError]:
    from onnx import checker

    where = _where(node)
    if node.domain or node.overload or node.op_type not in ALLOWED:
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        yield FormatError(f"uses the operator {shown(operator)}, which is not allowed in packages", where=where)
        return
    problems = [problem for attribute in node.attribute for problem in _attribute_problems(attribute)]
    yield from (FormatError(problem, where=where) for problem in problems)
    if problems:
        return
    try:
        checker.check_node(node, context)
    except (checker.ValidationError, ValueError, RuntimeError):
        # The library's text repeats names of the file, terminal escapes included.
        problem = f"does not fit ONNX's definition of {node.op_type}: inputs, outputs or attributes"
        yield FormatError(problem, where=where)


def _attribute_problems(attribute: onnx.AttributeProto) -> Iterator[str]:
    has = f"has an attribute {shown(attribute.name)}"
    single = ("g", "sparse_tensor", "tp", "t")
    if any(attribute.HasField(f) if f in single else getattr(attribute, f) for f in FORBIDDEN_ATTRIBUTES):
        yield f"{has} that holds a graph or tensor"
    if attribute.type in LISTS and not getattr(attribute, LISTS[attribute.type]):
        yield f"{has} that is an empty list"
    if attribute.doc_string or attribute.ref_attr_name:
        yield f"{has} with a doc string or a reference"
    if any(not _is_short_text(text) for text in (attribute.s, *attribute.strings)):
        yield f"{has} with a text that is not UTF-8 or longer than {limits.GRAPH_TEXT_BYTES} bytes"
    if any(abs(number) > limits.DIMENSION for number in (attribute.i, *attribute.ints)):
        yield f"{has} with a number beyond {limits.DIMENSION}"
    if not all(math.isfinite(number) for number in (attribute.f, *attribute.floats)):
        yield f"{has} that is NaN or infinite"


def _is_short_text(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return len(text) <= limits.GRAPH_TEXT_BYTES


def _order_problems(graph: onnx.GraphProto) -> Iterator[FormatError]:
    """Names are safe and made once; nodes only read what exists; the output is made by a node."""
    known: set[str] = set()
    for name in [*(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)]:
        if not ARRAY_NAME.fullmatch(name) or name in known:
            yield FormatError(f"the name {shown(name)} is unsafe or used twice", where="graph")
        known.add(name)
    made: set[str] = set()
    for node in graph.node:
        missing = [name for name in node.input if name and name not in known]
        if missing:
            yield FormatError(f"reads {shown(missing[0])} before it is made", where=_where(node))
        if (node.name and not ARRAY_NAME.fullmatch(node.name)) or not any(node.output):
            yield FormatError("has an unsafe name, or makes nothing", where=_where(node))
        for name in filter(None, node.output):
            if name in known or not ARRAY_NAME.fullmatch(name):
                yield FormatError(f"makes {shown(name)}, which is unsafe or exists already", where=_where(node))
            known.add(name)
            made.add(name)
    if any(value.name not in made for value in graph.output):
        yield FormatError("declares an output that no node makes", where="graph.output")


def _array_problems(graph: onnx.GraphProto, header: Header, weights_file: str) -> Iterator[FormatError]:
    """Every external array is exactly the entry of the same name in the weights file, and every entry is used."""
    from onnx import TensorProto

    used: set[str] = set()
    for tensor in graph.initializer:
        is_external = tensor.data_location == TensorProto.EXTERNAL
        used.update({tensor.name} if is_external else ())
        problem = _external_problem(tensor, header, weights_file) if is_external else _inline_problem(tensor)
        if problem:
            yield FormatError(problem, where=f"array {shown(tensor.name)}")
    for name in sorted(set(header.entries) - used):
        yield FormatError("is not used by the graph", where=name, file=weights_file)


def _external_problem(tensor: onnx.TensorProto, header: Header, weights_file: str) -> str:
    from onnx import TensorProto

    weights: dict[int, str] = {TensorProto.FLOAT: "F32", TensorProto.INT8: "I8"}
    entry = header.entries.get(tensor.name)
    reference = [(item.key, item.value) for item in tensor.external_data]
    if entry is None:
        return f"must point at the entry of that name in {weights_file}, which has none"
    exact = [("location", weights_file), ("offset", str(entry.begin)), ("length", str(entry.end - entry.begin))]
    if sorted(reference) != sorted(exact):
        return f"points at {shown(str(reference))}, expected {dict(exact)}"
    if weights.get(tensor.data_type) != entry.dtype or tuple(tensor.dims) != entry.shape:
        declared = shown(str(list(tensor.dims)))
        return f"is declared with shape {declared}, its entry has {list(entry.shape)} of {entry.dtype}"
    if _has_inline_data(tensor):
        return "has data inside the graph besides its entry"
    return ""


def _has_inline_data(tensor: onnx.TensorProto) -> bool:
    fields = {field.name for field, _ in tensor.ListFields()}
    return bool(fields - {"name", "dims", "data_type", "data_location", "external_data"})


def _inline_problem(tensor: onnx.TensorProto) -> str:
    import numpy as np
    from onnx import TensorProto, checker, numpy_helper

    small = (TensorProto.INT8, TensorProto.UINT8)
    allowed = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, *small)
    count = math.prod(max(size, 1) for size in tensor.dims)
    is_small = count <= limits.INLINE_ELEMENTS and len(tensor.dims) <= limits.TENSOR_RANK
    if tensor.data_type not in allowed or tensor.external_data or not is_small or min(tensor.dims, default=0) < 0:
        return "is kept inside the graph but is no small array of float32, integers or bool"
    try:
        checker.check_tensor(tensor)
        array = numpy_helper.to_array(tensor)
    except (checker.ValidationError, ValueError, TypeError):
        return "has data that does not fit its type and shape"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "holds NaN or infinity"
    return ""


def _where(node: onnx.NodeProto) -> str:
    return f"{shown(node.op_type)} node {shown(node.name)}"
