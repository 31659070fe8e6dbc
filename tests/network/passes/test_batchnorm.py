"""Batch-norm disappears into the layer before it, exactly, or becomes arithmetic where nothing can take it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modhub.errors import InvalidNetwork
from modhub.network.load import load
from tests.support.onnx_graphs import floats, onnx_bytes, run_model
from tests.support.runs import run_plainly

STATISTICS: dict[str, Any] = {
    "g": floats(5),
    "o": floats(5, seed=1),
    "m": floats(5, seed=2),
    "v": floats(5, seed=3) ** 2 + 0.1,
}
NORM = "BatchNormalization<epsilon = 0.01>"
HEAD = "p = GlobalAveragePool(z) f = Flatten(p) y = Gemm(f, w, b)"
ENDS: dict[str, Any] = {"w": floats(5, 3), "b": floats(3)}


@pytest.mark.parametrize("bias", [", k1", ""])
def test_after_a_convolution_it_is_folded_to_the_last_digit(bias: str) -> None:
    graph = f"(float[N, 2, 4, 4] x) => (float[N, 3] y) {{ c = Conv(x, k{bias}) z = {NORM}(c, g, o, m, v) {HEAD} }}"
    arrays: dict[str, Any] = {"k": floats(5, 2, 3, 3), **STATISTICS, **ENDS} | (
        {"k1": floats(5, seed=4)} if bias else {}
    )
    network = load(onnx_bytes(graph, **arrays))
    assert [node.op for node in network.nodes] == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    g, o, m, v = (STATISTICS[name].astype(np.float64) for name in "gomv")
    scale = g / np.sqrt(v + np.float32(0.01))
    convolution = network.nodes[0]
    expected = floats(5, 2, 3, 3).astype(np.float64) * scale[:, None, None, None]
    np.testing.assert_array_equal(network.arrays[convolution.inputs[1]], expected.astype(np.float32))
    before = arrays["k1"].astype(np.float64) if bias else np.zeros(5)
    shift = ((before - m) * scale + o).astype(np.float32)
    np.testing.assert_allclose(network.arrays[convolution.inputs[2]], shift, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "operators"),
    [
        (f"c = Conv(x, k) z = {NORM}(c, g, o, m, v)", ["Conv"]),
        (f"c = Conv(x, k) n = {NORM}(c, g, o, m, v) z = {NORM}(n, g, o, m, v)", ["Conv"]),
        (f"c = Conv(x, k) r = Relu(c) z = {NORM}(r, g, o, m, v)", ["Conv", "Relu", "Mul", "Add"]),
        (f"c = Conv(x, k) n = {NORM}(c, g, o, m, v) z = Add(n, c)", ["Conv", "Mul", "Add", "Add"]),
        (
            f"c = Conv(x, k) n = {NORM}(c, g, o, m, v) d = Conv(x, k) z = Add(n, d)",
            ["Conv", "Mul", "Add", "Conv", "Add"],
        ),
    ],
)
def test_it_folds_only_where_nobody_else_would_notice(body: str, operators: list[str]) -> None:
    graph = f"(float[N, 2, 4, 4] x) => (float[N, 3] y) {{ {body} {HEAD} }}"
    data = onnx_bytes(graph, k=floats(5, 2, 3, 3), **STATISTICS, **ENDS)
    network, x = load(data), floats(2, 2, 4, 4)
    assert [node.op for node in network.nodes][: len(operators)] == operators
    assert "BatchNormalization" not in [node.op for node in network.nodes]
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-4, atol=1e-5)


def test_it_folds_into_fully_connected_layers() -> None:
    graph = f"(float[N, 4] x) => (float[N, 3] y) {{ h = Gemm(x, a, c) n = {NORM}(h, g, o, m, v) y = Gemm(n, w, b) }}"
    data = onnx_bytes(graph, a=floats(4, 5), c=floats(5), **STATISTICS, **ENDS)
    network, x = load(data), floats(2, 4)
    assert [node.op for node in network.nodes] == ["Gemm", "Gemm"]
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-4, atol=1e-5)


def test_statistics_that_are_computed_are_refused() -> None:
    graph = f"""(float[N, 5, 4, 4] x) => (float[N, 3] y) {{
        q = ReduceMean<keepdims = 0>(x, axes) z = {NORM}(x, q, o, m, v) {HEAD} }}"""
    data = onnx_bytes(graph, axes=np.array([0, 2, 3]), **{**STATISTICS, **ENDS})
    with pytest.raises(InvalidNetwork, match="has statistics that are not constants"):
        load(data)
