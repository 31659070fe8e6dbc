"""Arithmetic on shapes and on the size of the batch disappears, whatever an exporter made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from modhub.errors import InvalidNetwork
from modhub.network.load import load
from tests.support.onnx_graphs import floats, ints, onnx_bytes, onnx_model, run_model
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from modhub.network.network import Array

HEAD = "f = Flatten(z) y = Gemm(f, w, b)"


def load_and_compare(graph: str, x: Array, **arrays: Any) -> list[str]:
    """Load a graph, check that it computes the same for batches of several sizes, and return its operators."""
    data = onnx_bytes(graph, **arrays)
    network = load(data)
    for rows in (1, 2, len(x)):
        np.testing.assert_allclose(run_plainly(network, x[:rows]), run_model(data, x[:rows]), rtol=1e-4, atol=1e-5)
    return [node.op for node in network.nodes]


def test_a_reshape_to_a_computed_shape_becomes_static() -> None:
    graph = """(float[N, 2, 3, 4] x) => (float[N, 5] y) {
        s = Shape(x) n = Gather(s, zero) t = Unsqueeze(n, first) u = Concat<axis = 0>(t, rest) z = Reshape(x, u)
        y = Gemm(z, w, b) }"""
    arrays: dict[str, Any] = {
        "zero": np.array(0),
        "first": ints(0),
        "rest": ints(24),
        "w": floats(24, 5),
        "b": floats(5),
    }
    assert load_and_compare(graph, floats(3, 2, 3, 4), **arrays) == ["Reshape", "Gemm"]


def test_a_reshape_that_moves_the_batch_takes_what_is_left() -> None:
    graph = """(float[N, 2, 6] x) => (float[N, 3] y) {
        n = Shape<start = 0, end = 1>(x) two = Mul(n, pair) s = Concat<axis = 0>(two, six) flat = Reshape(x, s)
        r = Relu(flat) back = Concat<axis = 0>(n, rest) z = Reshape(r, back) y = Gemm(z, w, b) }"""
    arrays: dict[str, Any] = {"pair": ints(2), "six": ints(6), "rest": ints(12), "w": floats(12, 3), "b": floats(3)}
    assert load_and_compare(graph, floats(3, 2, 6), **arrays) == ["Reshape", "Relu", "Reshape", "Gemm"]


@pytest.mark.parametrize("parts", ["c, x", "x, c", "c, x, d", "c, x, x, d"])
def test_tokens_repeated_for_the_batch_become_padding_and_an_addition(parts: str) -> None:
    rows = 2 * parts.count("x") + parts.count("c") + parts.count("d")
    graph = f"""(float[N, 2, 4] x) => (float[N, 3] y) {{
        n = Shape<start = 0, end = 1>(x) s = Concat<axis = 0>(n, tail) c = Expand(token, s)
        zeros = ConstantOfShape(s) d = Add(zeros, other) z = Concat<axis = 1>({parts}) {HEAD} }}"""
    arrays: dict[str, Any] = {"tail": ints(1, 4), "token": floats(1, 1, 4), "other": floats(1, 1, 4, seed=1)}
    operators = load_and_compare(graph, floats(3, 2, 4), **arrays, w=floats(4 * rows, 3), b=floats(3))
    assert [op for op in operators if op != "Concat"] == ["Pad", "Add", "Flatten", "Gemm"]


def test_rows_that_broadcast_are_stored_once() -> None:
    graph = f"""(float[N, 2, 4] x) => (float[N, 3] y) {{
        s = Shape(x) c = Expand(token, s) z = Mul(x, c) {HEAD} }}"""
    network = load(onnx_bytes(graph, token=floats(1, 2, 4), w=floats(8, 3), b=floats(3)))
    assert sorted(array.shape for _, array in network.weights()) == [(1, 2, 4), (3,), (3, 8)]


def test_an_expansion_over_the_batch_broadcasts() -> None:
    graph = f"""(float[N, 1, 4] x) => (float[N, 3] y) {{
        n = Shape<start = 0, end = 1>(x) s = Concat<axis = 0>(n, tail) z = Expand(x, s) {HEAD} }}"""
    arrays: dict[str, Any] = {"tail": ints(2, 4), "w": floats(8, 3), "b": floats(3)}
    assert load_and_compare(graph, floats(3, 1, 4), **arrays) == ["Expand", "Flatten", "Gemm"]


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_initial_states_of_zeros_are_left_out(op: str) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    cell = ", h" if op == "LSTM" else ""
    graph = f"""(float[N, 2, 4] x) => (float[N, 3] y) {{
        n = Shape<start = 0, end = 1>(x) s = Concat<axis = 0>(one, n, five) h = ConstantOfShape(s)
        t = Transpose<perm = [1, 0, 2]>(x) states, last = {op}<hidden_size = 5>(t, wx, wh, bias, , h{cell})
        q = Squeeze(last, axes) y = Gemm(q, w, b) }}"""
    arrays: dict[str, Any] = {"one": ints(1), "five": ints(5), "axes": ints(0), "w": floats(5, 3), "b": floats(3)}
    arrays |= {"wx": floats(1, 5 * gates, 4), "wh": floats(1, 5 * gates, 5), "bias": floats(1, 10 * gates)}
    assert load_and_compare(graph, floats(3, 2, 4), **arrays) == ["Transpose", op, "Squeeze", "Gemm"]


def test_constants_are_computed_once() -> None:
    graph = "(float[N, 4] x) => (float[N, 3] y) { k = Exp(w) l = Transpose(k) y = Gemm<transB = 1>(x, l, b) }"
    assert load_and_compare(graph, floats(3, 4), w=floats(4, 3), b=floats(3)) == ["Gemm"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            """a = Unsqueeze(x, one) c = Unsqueeze(x, first) e = Mul(a, c) s = Concat<axis = 0>(n, n, four)
            r = Reshape(e, s) z = ReduceMean<keepdims = 0>(r, one)""",
            "Reshape node 'r' moves the batch in a way that cannot be made static: [61, 61, 4]",
        ),
        (
            "m = Squeeze(n) r = Range(zero, m, step) c = Cast<to = 1>(r) u = Unsqueeze(c, one) z = Add(x, u)",
            "Add node 'z' reads a constant of shape [61, 1] that differs along the batch",
        ),
        (
            "r = Concat<axis = 0>(one, n) t = Tile(x, r) m = ReduceMean(t, one) z = Add(x, m)",
            "Tile node 't' needs the size of the batch, which is not known before running",
        ),
        (
            "s = Concat<axis = 0>(n, four) c = ConstantOfShape(s) z = Concat<axis = 1>(x, c, x)",
            "Concat node 'z' joins constants between values, repeated along the batch",
        ),
    ],
)
def test_a_batch_that_cannot_be_made_static_is_refused_by_node(body: str, message: str) -> None:
    rows = "n = Shape<start = 0, end = 1>(x)"
    graph = f"(float[N, 4] x) => (float[N, 3] y) {{ {rows} {body} f = Flatten(z) y = Gemm(f, w) }}"
    width = 12 if "z = Concat" in body else 4
    arrays: dict[str, Any] = {
        "first": ints(0),
        "one": ints(1),
        "four": ints(4),
        "zero": np.array(0),
        "step": np.array(1),
    }
    model = onnx_model(graph, w=floats(width, 3), **arrays)
    for node in model.graph.node:
        node.name = node.output[0]
    with pytest.raises(InvalidNetwork) as caught:
        load(model.SerializeToString())
    assert message in str(caught.value)


def test_an_initial_state_that_was_learned_is_refused() -> None:
    graph = """(float[N, 2, 4] x) => (float[N, 3] y) {
        n = Shape<start = 0, end = 1>(x) s = Concat<axis = 0>(one, n, five) h = Expand(start, s)
        t = Transpose<perm = [1, 0, 2]>(x) states, last = RNN<hidden_size = 5>(t, wx, wh, , , h)
        q = Squeeze(last, axes) y = Gemm(q, w) }"""
    arrays: dict[str, Any] = {
        "one": ints(1),
        "five": ints(5),
        "axes": ints(0),
        "w": floats(5, 3),
        "start": floats(1, 1, 5),
    }
    with pytest.raises(InvalidNetwork, match="starts from a state that is not zero for every sequence"):
        load(onnx_bytes(graph, wx=floats(1, 5, 4), wh=floats(1, 5, 5), **arrays))
