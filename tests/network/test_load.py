"""What `load` takes, what it makes of it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modhub.errors import InvalidNetwork, ModhubError, NotFound, UnsupportedOperator
from modhub.network.load import load
from modhub.network.onnx_file import to_model
from tests.support.networks import inputs_for
from tests.support.onnx_graphs import floats, ints, onnx_bytes, onnx_model, run_model
from tests.support.runs import run_plainly

LINEAR = "(float[N, 4] x) => (float[N, 3] y) { y = Gemm(x, w, b) }"
WEIGHTS: dict[str, Any] = {"w": floats(4, 3), "b": floats(3)}
MODELS = sorted(path.name for path in (Path(__file__).parents[1] / "data").glob("*.onnx"))


@pytest.mark.parametrize("name", MODELS)
def test_a_real_network_computes_the_same_after_loading(data_folder: Path, name: str) -> None:
    data = (data_folder / name).read_bytes()
    network = load(data_folder / name)
    x = inputs_for(network, batch=5)
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), atol=1e-4)


def test_a_path_and_its_bytes_load_alike(data_folder: Path) -> None:
    path = data_folder / MODELS[0]
    assert to_model(load(path)) == to_model(load(path.read_bytes())) == to_model(load(str(path)))


def test_weights_beside_the_graph_are_read(tmp_path: Path) -> None:
    data = onnx_bytes(LINEAR, w=floats(4, 300), b=floats(300))
    model = onnx.load_model_from_string(data)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 300
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    x = floats(2, 4)
    np.testing.assert_allclose(run_plainly(load(tmp_path / "m.onnx"), x), x @ floats(4, 300) + floats(300), rtol=1e-5)


@pytest.mark.parametrize("opset", [13, 15, 17, 18, 20, 21, 23])
def test_other_opsets_are_converted(opset: int) -> None:
    data = onnx_bytes(LINEAR, opset=opset, **WEIGHTS)
    x = floats(2, 4)
    network = load(data)
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-5)
    assert to_model(network).opset_import[0].version == 20


def test_nothing_of_the_exporter_is_left() -> None:
    model = onnx_model(LINEAR, **WEIGHTS)
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "/home/ada/train.py"
    model.graph.node[0].metadata_props.add(key="trace", value="/home/ada/train.py")
    model.metadata_props.add(key="author", value="ada")
    model.graph.input[0].doc_string = model.graph.initializer[0].doc_string = "ada"
    network = load(model.SerializeToString())
    assert b"ada" not in to_model(network).SerializeToString()
    assert network.metadata == {}


def test_names_are_safe_unique_and_the_ends_have_ours() -> None:
    model = onnx_model("(float[N, 4] x) => (float[N, 3] y) { h = Relu(x) y = Gemm(h, w, b) }", **WEIGHTS)
    bad = {"x": "in put\n", "h": "logits", "w": "a b", "b": "a_b"}
    for node in model.graph.node:
        node.input[:] = [bad.get(name, name) for name in node.input]
        node.output[:] = [bad.get(name, name) for name in node.output]
        node.name = "same name"
    model.graph.input[0].name = bad["x"]
    for tensor in model.graph.initializer:
        tensor.name = bad.get(tensor.name, tensor.name)
    network = load(model.SerializeToString())
    assert network.input.name == "features"
    assert network.output == "logits"
    assert "a_b" in network.arrays
    names = [*network.arrays, network.input.name, *network.producers()]
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and " " not in name for name in (*names, *(node.name for node in network.nodes)))


def test_local_functions_are_inlined() -> None:
    model = onnx_model("(float[N, 4] x) => (float[N, 3] y) { y = Gemm(x, w, b) }", **WEIGHTS)
    opsets = [helper.make_opsetid("", 20)]
    double = helper.make_function("own", "Double", ["a"], ["c"], [helper.make_node("Add", ["a", "a"], ["c"])], opsets)
    model.functions.append(double)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.insert(0, helper.make_node("Double", ["x"], ["d"], domain="own"))
    model.graph.node[1].input[0] = "d"
    network = load(model.SerializeToString())
    assert [node.op for node in network.nodes] == ["Add", "Gemm"]


def test_a_final_softmax_is_removed() -> None:
    graph = "(float[N, 4] x) => (float[N, 3] y) { z = Gemm(x, w, b) p = Softmax<axis = 1>(z) y = Identity(p) }"
    network = load(onnx_bytes(graph, **WEIGHTS))
    x = floats(5, 4)
    assert [node.op for node in network.nodes] == ["Gemm"]
    np.testing.assert_allclose(run_plainly(network, x), x @ WEIGHTS["w"] + WEIGHTS["b"], rtol=1e-5)


def test_a_softmax_over_the_batch_stays() -> None:
    graph = "(float[N, 4] x) => (float[N, 3] y) { z = Gemm(x, w, b) y = Softmax<axis = 0>(z) }"
    assert [node.op for node in load(onnx_bytes(graph, **WEIGHTS)).nodes] == ["Gemm", "Softmax"]


def test_what_the_output_does_not_need_is_dropped() -> None:
    graph = "(float[N, 4] x) => (float[N, 3] y) { z = Relu(x) d = Dropout(x) y = Gemm(d, w, b) }"
    network = load(onnx_bytes(graph, **WEIGHTS, unused=floats(7)))
    assert [node.op for node in network.nodes] == ["Gemm"]
    assert sorted(array.shape for array in network.arrays.values()) == [(3,), (3, 4)]


@pytest.mark.parametrize(
    ("shape", "kind", "layout", "canonical"),
    [
        ("N, 4", "features", None, ("batch", 4)),
        ("N, 5, 4", "audio", None, ("batch", 5, 4)),
        ("N, 3, 6, 4", "image", "NCHW", ("batch", 3, 6, 4)),
        ("N, 6, 4, 3", "image", "NCHW", ("batch", 3, 6, 4)),
        ("N, 6, 4, 1", "image", "NCHW", ("batch", 1, 6, 4)),
    ],
)
def test_the_input_contract_follows_from_type_and_shape(
    shape: str, kind: str, layout: str | None, canonical: tuple[int | str, ...]
) -> None:
    size = int(np.prod([int(number) for number in shape.split(", ")[1:]]))
    graph = f"(float[{shape}] x) => (float[N, 3] y) {{ f = Flatten(x) y = Gemm(f, w, b) }}"
    port = load(onnx_bytes(graph, w=floats(size, 3), b=floats(3))).input
    assert (port.kind, port.layout, port.shape, port.name) == (kind, layout, canonical, kind)


def test_integers_are_tokens() -> None:
    graph = "(int64[N, 4] x) => (float[N, 3] y) { e = Gather(t, x) f = Flatten(e) y = Gemm(f, w, b) }"
    port = load(onnx_bytes(graph, t=floats(9, 2), w=floats(8, 3), b=floats(3))).input
    assert (port.kind, port.dtype, port.shape) == ("tokens", "int64", ("batch", 4))


def test_the_contract_counts_the_tokens_that_the_embedding_knows() -> None:
    graph = """(int64[N, 4] x) => (float[N, 3] y) {
        words = Gather(table, x)
        mean = ReduceMean<keepdims = 0>(words, one)
        y = Gemm<transB = 1>(mean, w, b)
    }"""
    network = load(onnx_bytes(graph, table=floats(11, 5), one=ints(1), w=floats(3, 5), b=floats(3)))
    assert network.input.vocabulary == 11


def test_images_with_channels_last_are_taken_with_channels_first() -> None:
    graph = """(float[N, 6, 4, 3] x) => (float[N, 2] y) {
        t = Transpose<perm = [0, 3, 1, 2]>(x) c = Conv<pads = [1, 1, 1, 1]>(t, k) r = Relu(c)
        u = Transpose<perm = [0, 2, 3, 1]>(r) f = Reshape(u, s) m = MatMul(f, w) y = Add(m, b) }"""
    data = onnx_bytes(graph, k=floats(5, 3, 3, 3), s=ints(-1, 120), w=floats(120, 2), b=floats(2))
    network = load(data)
    x = floats(2, 3, 6, 4)
    assert [node.op for node in network.nodes] == ["Conv", "Relu", "Transpose", "Reshape", "Gemm"]
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x.transpose(0, 2, 3, 1)), rtol=1e-4, atol=1e-4)


def refused(data: bytes) -> str:
    with pytest.raises(InvalidNetwork) as caught:
        load(data)
    return str(caught.value)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no file '.*missing\.onnx'"):
        load(tmp_path / "missing.onnx")


def test_bytes_that_are_no_onnx_are_refused(tmp_path: Path) -> None:
    assert refused(b"\xffnonsense") == "is not an ONNX model: the bytes cannot be decoded"
    (tmp_path / "m.onnx").write_bytes(b"\xffnonsense")
    with pytest.raises(InvalidNetwork, match=r"m\.onnx: is not an ONNX model: the bytes cannot be decoded"):
        load(tmp_path / "m.onnx")


def test_an_empty_file_is_no_valid_model() -> None:
    assert refused(b"").startswith("is not a valid ONNX model: ")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            "(float[N, 4] x, float[N, 4] z) => (float[N, 3] y) { s = Add(x, z) y = Gemm(s, w, b) }",
            "expected one input and one output, got ['x', 'z'] -> ['y']",
        ),
        (
            "(float[N, 4] x) => (float[N, 3] y, float[N, 4] z) { z = Relu(x) y = Gemm(x, w, b) }",
            "expected one input and one output, got ['x'] -> ['y', 'z']",
        ),
        (
            "(float[N, 2, 4] x) => (float[N, 2, 3] y) { y = MatMul(x, w) }",
            "its output 'y' has shape ['batch', 2, 3]: a classifier's is [batch, classes]",
        ),
        (
            "(float[N, M] x) => (float[N, 3] y) { y = Gemm(x, w, b) }",
            "input 'x' has shape [None, None]: every dimension but the batch must be a number",
        ),
        (
            "(float x) => (float[N, 3] y) { z = Expand(x, shape) y = Gemm(z, w, b) }",
            "input 'x' has shape []: every dimension but the batch must be a number",
        ),
        (
            "(double[N, 4] x) => (float[N, 3] y) { c = Cast<to = 1>(x) y = Gemm(c, w, b) }",
            "input 'x' holds double: expected float32, or int64 for tokens [batch, length]",
        ),
        (
            "(float[N, 1, 1, 1, 4] x) => (float[N, 3] y) { f = Flatten(x) y = Gemm(f, w, b) }",
            "input 'x' has 5 dimensions: expected 2 (features), 3 (audio) or 4 (images)",
        ),
    ],
)
def test_what_is_no_classifier_with_one_input_is_refused(graph: str, message: str) -> None:
    assert refused(onnx_bytes(graph, shape=ints(1, 4), **WEIGHTS)) == message


def test_one_class_is_no_choice() -> None:
    message = refused(onnx_bytes("(float[N, 4] x) => (float[N, 1] y) { y = Gemm(x, w) }", w=floats(4, 1)))
    assert message == "its output 'y' has shape ['batch', 1]: a classifier's is [batch, classes]"


def test_shapes_that_contradict_each_other_are_refused() -> None:
    message = refused(onnx_bytes("(float[N, 5] x) => (float[N, 3] y) { y = Gemm(x, w, b) }", **WEIGHTS))
    assert message.startswith("its shapes are inconsistent: ")


def test_operators_of_other_domains_are_refused_by_name() -> None:
    model = onnx_model("(float[N, 4] x) => (float[N, 3] y) { h = Relu(x) y = Gemm(h, w, b) }", **WEIGHTS)
    model.graph.node[0].domain, model.graph.node[0].name = "com.microsoft", "fast"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "Relu node 'fast' belongs to the operator domain 'com.microsoft'" in refused(model.SerializeToString())


def test_shapes_that_depend_on_values_are_refused() -> None:
    graph = "(float[N, 4] x) => (float[N, 3] y) { i = NonZero(x) c = Cast<to = 1>(i) m = MatMul(c, z) y = Gemm(m, w) }"
    with pytest.raises(ModhubError):
        load(onnx_bytes(graph, z=floats(4, 4), **WEIGHTS))


def test_a_constant_that_cannot_be_evaluated_is_refused_by_name() -> None:
    model = onnx_model("(float[N, 4] x) => (float[N, 3] y) { y = Gemm(x, w, b) }", w=floats(4, 3))
    constant = helper.make_node("ConstantOfShape", ["huge"], ["b"], name="big")
    model.graph.initializer.append(helper.make_tensor("huge", TensorProto.INT64, [1], [2**40]))
    model.graph.node.insert(0, constant)
    message = refused(model.SerializeToString())
    assert message == "ConstantOfShape node 'big' makes a constant of shape [1099511627776], which is too large"


def test_unsupported_is_a_kind_of_invalid() -> None:
    assert issubclass(UnsupportedOperator, InvalidNetwork)
