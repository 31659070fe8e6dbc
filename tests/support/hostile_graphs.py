"""Graphs that are hostile in one way each: bytes, whole models, nodes, arrays, and sizes of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from modhub.spec import limits

Edit: TypeAlias = Callable[[Any], object]
CODE = "x=__import__('os').system('true')"
PICKLE = b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94."


def hostile_graphs(good: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Yield names, bytes of `model.onnx`, and words that the refusal must hold; `good` is that of a module."""
    field = b"\xfa\x3f\x04evil"
    raw = {
        "no bytes of ONNX": (b"\x00" * 64, "which ONNX does not define"),
        "a pickle": (PICKLE, "model.onnx: "),
        "a file of ONNX Runtime's own format": (b"\x20\x00\x00\x00ORTM" + good, "model.onnx: "),
        "a cut file": (good[:-10], "it ends inside a field"),
        "an unknown field": (good + field, "has a field 1023 in ModelProto, which ONNX does not define"),
        "two graphs": (good + _field(7, b""), "has the field graph twice in one ModelProto"),
        "a field of another type": (
            good + b"\x0d\x01\x00\x00\x00",
            "has the field ir_version in ModelProto as another",
        ),
        "a number without an end": (good + b"\xff" * 12, "a number in it has no end"),
        "more bytes than allowed": (good + bytes(limits.GRAPH_BYTES), f"at most {limits.GRAPH_BYTES} are allowed"),
        "a million empty nodes": (_field(7, _field(1, b"") * 1_000_000), f"has more than {limits.GRAPH_FIELDS} fields"),
        "a name that is no UTF-8": (
            good.replace(b"conv0", b"con\xff0"),
            "has a text that is no UTF-8 as the field input in NodeProto",
        ),
        "graphs in graphs": (_nested(40), "is nested deeper than 16 messages"),
    }
    for name, (data, problem) in raw.items():
        yield name, data, problem
    for name, (edit, problem) in {**_model_edits(), **_node_edits(), **_array_edits(), **_size_edits()}.items():
        model = onnx.ModelProto.FromString(good)
        edit(model)
        yield name, model.SerializeToString(), problem


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    more = value >> 7
    return bytes([value & 127 | (128 if more else 0)]) + (_varint(more) if more else b"")


def _nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = _field(1, _field(5, _field(6, graph)))
    return _field(7, graph)


def _model_edits() -> dict[str, tuple[Edit, str]]:
    function = helper.make_function("f", "Relu", ["x"], ["y"], [], [helper.make_opsetid("", 20)])
    info = helper.make_tensor_value_info
    return {
        "functions": (lambda m: m.functions.append(function), "holds functions, expected"),
        "training information": (lambda m: m.training_info.add(), "holds training_info, expected"),
        "a model's doc string": (lambda m: setattr(m, "doc_string", "/home/me"), "holds doc_string, expected"),
        "a custom operator domain": (
            lambda m: m.opset_import.append(helper.make_opsetid("evil", 1)),
            "opset_import: expected [('', 20)]",
        ),
        "the default domain twice": (
            lambda m: m.opset_import.append(helper.make_opsetid("", 20)),
            "opset_import: expected [('', 20)]",
        ),
        "opset 19": (lambda m: setattr(m.opset_import[0], "version", 19), "opset_import: expected [('', 20)]"),
        "IR version 9": (lambda m: setattr(m, "ir_version", 9), "ir_version: expected 10, got 9"),
        "a producer with an escape": (lambda m: setattr(m, "producer_name", "\x1b[2J"), "names producer or graph"),
        "a graph called by a path": (lambda m: setattr(m.graph, "name", "C:\\me"), "names producer or graph"),
        "metadata with an odd key": (lambda m: m.metadata_props.add(key="a b", value=""), "entry 'a b' is too long or"),
        "metadata of 5 MB": (
            lambda m: m.metadata_props.add(key="a", value="x" * 5_000_000),
            "entry 'a' is too long or badly named",
        ),
        "metadata twice": (
            lambda m: [m.metadata_props.add(key="a", value=value) for value in "bc"],
            "entry 'a' occurs twice",
        ),
        "a doc string of a graph": (lambda m: setattr(m.graph, "doc_string", "/home/me"), "carries a doc string"),
        "a doc string of a node": (lambda m: setattr(m.graph.node[0], "doc_string", "/me"), "carries a doc string"),
        "metadata of a node": (lambda m: m.graph.node[0].metadata_props.add(key="a"), "carries a doc string or meta"),
        "metadata of an array": (lambda m: m.graph.initializer[0].metadata_props.add(key="a"), "carries a doc string"),
        "a sparse array": (lambda m: m.graph.sparse_initializer.add(), "holds sparse arrays"),
        "quantisation notes": (lambda m: m.graph.quantization_annotation.add(), "holds sparse arrays, quantisation"),
        "value information": (
            lambda m: m.graph.value_info.append(info("relu1", TensorProto.FLOAT, [2**40])),
            "or value information",
        ),
        "two inputs": (
            lambda m: m.graph.input.append(info("other", TensorProto.FLOAT, ["batch"])),
            "has 2 inputs and 1 outputs",
        ),
        "no output": (lambda m: m.graph.ClearField("output"), "has 1 inputs and 0 outputs"),
        "another input's name": (lambda m: setattr(m.graph.input[0], "name", "x"), "graph.input: takes "),
        "an input of doubles": (
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
            "graph.input: takes ",
        ),
        "an input of 1 TiB": (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**40),
            "graph.input: takes ",
        ),
        "a sequence as input": (
            lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(),
            "graph.input: takes ",
        ),
        "an output of integers": (
            lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", TensorProto.INT64),
            "graph.output: expected a float32 output",
        ),
        "an output that nobody makes": (lambda m: setattr(m.graph.output[0], "name", "x"), "output that no node makes"),
        "the input as output": (lambda m: setattr(m.graph.output[0], "name", "image"), "output that no node makes"),
        "another declared output": (
            lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 7),
            "makes score ['batch', 1], declared is",
        ),
    }


def _node_edits() -> dict[str, tuple[Edit, str]]:
    def add(op: str, *inputs: str, output: str = "z", domain: str = "", **attributes: Any) -> Edit:
        node = helper.make_node(op, inputs, [output], domain=domain, **attributes)
        return lambda model: model.graph.node.append(node)

    def change(**fields: object) -> Edit:
        node = onnx.NodeProto(**fields)  # type: ignore[arg-type]
        return lambda model: model.graph.node[0].MergeFrom(node)

    def attribute(**fields: Any) -> Edit:
        return lambda model: model.graph.node[1].attribute.append(AttributeProto(**fields))

    graph = helper.make_graph([], "g", [], [])
    array = numpy_helper.from_array(np.zeros(1, np.float32))
    return {
        "an operator of another domain": (add("Relu", "image", domain="evil"), "uses the operator 'evil.Relu'"),
        "a branch": (add("If", "image", then_branch=graph, else_branch=graph), "uses the operator 'If'"),
        "a loop": (add("Loop", "", "", "image", body=graph), "uses the operator 'Loop'"),
        "a scan": (add("Scan", "image", body=graph, num_scan_inputs=1), "uses the operator 'Scan'"),
        "random numbers": (add("RandomNormalLike", "image"), "uses the operator 'RandomNormalLike'"),
        "text": (add("StringNormalizer", "image"), "uses the operator 'StringNormalizer'"),
        "an operator that does not exist": (add("\x1b[31mRelu", "image"), "uses the operator '\\x1b[31mRelu'"),
        "an overload": (change(overload="o"), "uses the operator 'Conv'"),
        "a graph as an attribute": (attribute(name="g", type=5, g=graph), "that holds a graph or tensor"),
        "a tensor as an attribute": (attribute(name="t", type=4, t=array), "that holds a graph or tensor"),
        "a type as an attribute": (attribute(name="t", type=13, tp=onnx.TypeProto()), "that holds a graph or tensor"),
        "a reference attribute": (attribute(name="a", type=2, ref_attr_name="b"), "with a doc string or a reference"),
        "an attribute of 70 KB": (attribute(name="a", type=3, s=b"x" * 70_000), "longer than 65536 bytes"),
        "an attribute that is no UTF-8": (attribute(name="a", type=3, s=b"\xff"), "that is not UTF-8"),
        "an attribute of 2^62": (attribute(name="a", type=2, i=2**62), "with a number beyond 2147483647"),
        "an attribute that is NaN": (attribute(name="a", type=1, f=np.nan), "that is NaN or infinite"),
        "an empty list": (attribute(name="a", type=7), "that is an empty list"),
        "an attribute that Relu lacks": (attribute(name="a", type=2, i=1), "does not fit ONNX's definition of Relu"),
        "an attribute called like an argument": (
            attribute(name="inputs", type=2, i=1),
            "does not fit ONNX's definition of Relu",
        ),
        "an attribute twice": (
            lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0]),
            "does not fit ONNX's definition of Conv",
        ),
        "an attribute without a type": (attribute(name="a"), "does not fit ONNX's definition of Relu"),
        "an attribute of two types": (
            attribute(name="a", type=2, i=1, s=b"x"),
            "does not fit ONNX's definition of Relu",
        ),
        "too few inputs": (add("Gemm", "image"), "does not fit ONNX's definition of Gemm"),
        "nodes in another order": (lambda m: m.graph.node.insert(0, m.graph.node.pop()), "before it is made"),
        "a circle": (add("Relu", "z"), "reads 'z' before it is made"),
        "a value that nobody makes": (add("Relu", "nothing"), "reads 'nothing' before it is made"),
        "a value made twice": (add("Relu", "image", output="score"), "makes 'score', which is unsafe or exists"),
        "a value called like the input": (add("Relu", "image", output="image"), "makes 'image', which is unsafe or"),
        "a value that is code": (add("Relu", "image", output=CODE), "which is unsafe or exists already"),
        "a node that makes nothing": (lambda m: m.graph.node[0].ClearField("output"), "definition of Conv"),
        "a node called by an escape": (change(name="\x1b]0;x\x07"), "has an unsafe name"),
        "a node called by code": (change(name='W"), open("x"), getattr(self, "W'), "has an unsafe name"),
    }


def _array_edits() -> dict[str, tuple[Edit, str]]:
    def reference(**fields: str | None) -> Edit:
        def edit(model: onnx.ModelProto) -> None:
            tensor = model.graph.initializer[0]
            found = {entry.key: entry.value for entry in tensor.external_data}
            del tensor.external_data[:]
            for key, value in {**found, **fields}.items():
                if value is not None:
                    tensor.external_data.add(key=key, value=value)

        return edit

    def other(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].external_data[:]
        model.graph.initializer[0].external_data.extend(model.graph.initializer[1].external_data)

    def inline(array: np.ndarray[Any, Any], **fields: Any) -> Edit:
        tensor = numpy_helper.from_array(array, "extra")
        for key, value in fields.items():
            setattr(tensor, key, value)
        return lambda model: model.graph.initializer.append(tensor)

    text = onnx.TensorProto(name="extra", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    small = "is no small array of float32, integers or bool"
    return {
        "weights in the parent folder": (reference(location="../weights.safetensors"), "'array0': points at"),
        "weights at an absolute path": (reference(location="/etc/passwd"), "'array0': points at"),
        "weights with NUL": (reference(location="weights.safetensors\0x"), "'array0': points at"),
        "weights in memory": (reference(location="*/_ORT_MEM_ADDR_/*"), "'array0': points at"),
        "weights in the manifest": (reference(location="module.json"), "'array0': points at"),
        "weights in the header": (reference(offset="0"), "'array0': points at"),
        "weights behind the end": (reference(offset="999999999"), "'array0': points at"),
        "a negative offset": (reference(offset="-8"), "'array0': points at"),
        "an offset in other digits": (reference(offset="+800"), "'array0': points at"),
        "weights of another array": (other, "'array0': points at"),
        "no length": (reference(length=None), "'array0': points at"),
        "a checksum": (reference(checksum="0"), "'array0': points at"),
        "two locations": (
            lambda m: m.graph.initializer[0].external_data.add(key="location", value="/etc/passwd"),
            "'array0': points at",
        ),
        "an array that the weights lack": (
            lambda m: setattr(m.graph.initializer[0], "name", "array99"),
            "'array99': must point at the entry of that name",
        ),
        "weights as doubles": (lambda m: setattr(m.graph.initializer[0], "data_type", 11), "is declared with shape"),
        "weights of another shape": (
            lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40),
            "'array0': is declared with shape",
        ),
        "weights here and there": (
            lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"),
            "has data inside the graph besides its entry",
        ),
        "an array twice": (
            lambda m: m.graph.initializer.append(m.graph.initializer[0]),
            "the name 'array0' is unsafe or used twice",
        ),
        "an array called like the input": (
            lambda m: m.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "image")),
            "the name 'image' is unsafe or used twice",
        ),
        "an array that is code": (
            lambda m: m.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), CODE)),
            "is unsafe or used twice",
        ),
        "large numbers inside": (inline(np.zeros(limits.INLINE_ELEMENTS + 1, np.int64)), small),
        "doubles inside": (inline(np.zeros(1, np.float64)), small),
        "text inside": (lambda m: m.graph.initializer.append(text), small),
        "NaN inside": (inline(np.array(np.nan, np.float32)), "holds NaN or infinity"),
        "too few bytes inside": (inline(np.zeros(4, np.int64), raw_data=b"12"), "does not fit its type and shape"),
        "bytes in two places": (_in_two_places, "does not fit its type and shape"),
        "a negative dimension inside": (lambda m: m.graph.initializer.add(name="extra", data_type=7, dims=[-1]), small),
        "a large nothing inside": (lambda m: m.graph.initializer.add(name="e", data_type=7, dims=[0, 2**60]), small),
    }


def _in_two_places(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(1, np.int64), "extra")
    tensor.int64_data.append(1)
    model.graph.initializer.append(tensor)


def _size_edits() -> dict[str, tuple[Edit, str]]:
    def add(*nodes: onnx.NodeProto, **arrays: list[int] | np.ndarray[Any, Any]) -> Edit:
        def edit(model: onnx.ModelProto) -> None:
            model.graph.node.extend(nodes)
            for name, array in arrays.items():
                numbers = array if isinstance(array, np.ndarray) else np.array(array, np.int64)
                model.graph.initializer.append(numpy_helper.from_array(numbers, name))

        return edit

    def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs.split(), [output], **attributes)

    doubling = [node("Concat", f"d{i} d{i}", f"d{i + 1}", axis=0) for i in range(38)]
    scale = [np.array(number, np.float32) for number in (2.0**30, np.pi)]
    return {
        "5,001 nodes": (add(*[node("Relu", "image", f"r{i}") for i in range(5001)]), "at most 5000 and 5000 are"),
        "5,001 arrays": (
            lambda m: [m.graph.initializer.add(name=f"e{i}") for i in range(5001)],
            "at most 5000 and 5000 are allowed",
        ),
        "numbers that double 38 times": (add(*doubling, d0=[1, 1]), "elements are allowed"),
        "images that double 38 times": (
            add(node("Relu", "image", "d0"), *doubling),
            "elements are allowed",
        ),
        "a value of 1 TiB": (add(node("Expand", "relu1 size", "z"), size=[2**20, 2**20, 1, 1, 1, 1]), "are allowed"),
        "a value of 2^40 rows": (add(node("Tile", "image size", "z"), size=[2**40, 1, 1, 1]), "elements are allowed"),
        "a padding of 2^62": (add(node("Pad", "image size", "z"), size=[2**62] * 8), "model.onnx: "),
        "a kernel of 2^31": (
            add(node("MaxPool", "image", "z", kernel_shape=[2**31 - 1, 1])),
            "model.onnx: ",
        ),
        "a stride of 0": (add(node("MaxPool", "image", "z", kernel_shape=[1, 1], strides=[0, 0])), "model.onnx: "),
        "a block of 0": (add(node("DepthToSpace", "image", "z", blocksize=0)), "model.onnx: "),
        "60,000 dimensions": (add(node("Unsqueeze", "image axes", "z"), axes=list(range(4, 60_000))), "are allowed"),
        "a division by 0": (
            add(node("Div", "a b", "c"), node("Reshape", "image c", "z"), a=[4, 4], b=[0, 0]),
            "cannot be known before running",
        ),
        "a step of -2^63": (
            add(
                node("Slice", "image a b c d", "z"),
                a=[2**62],
                b=[-(2**63)],
                c=[-(2**63)],
                d=[-(2**63)],
            ),
            "model.onnx: ",
        ),
        "shapes that contradict": (add(node("MatMul", "image array0", "z")), "model.onnx: "),
        "an image scaled to infinity": (
            add(node("Resize", "image empty scales", "z"), empty=np.zeros(0, np.int64), scales=np.array(scale)),
            "model.onnx: ",
        ),
    }
