"""Each spelling of a layer ends in one: what the graph looks like afterwards, and that it computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from modhub.network.load import load
from modhub.network.passes.selection import is_selection
from tests.support.onnx_graphs import floats, ints, onnx_bytes, run_model
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from modhub.network.network import Array

W, B = floats(4, 3), floats(3)


def load_and_compare(graph: str, x: Array, **arrays: Any) -> list[str]:
    """Load a graph, check that it computes the same, and return its operators."""
    data = onnx_bytes(graph, **arrays)
    network = load(data)
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-4, atol=1e-5)
    for node in network.nodes:
        if node.op == "Gemm":
            assert node.attributes == {"transB": 1}
            assert network.arrays[node.inputs[2]].ndim == 1
    return [node.op for node in network.nodes]


@pytest.mark.parametrize(
    ("layer", "arrays"),
    [
        ("y = Gemm(x, w, b)", {"w": W, "b": B}),
        ("y = Gemm<transB = 1>(x, w, b)", {"w": W.T.copy(), "b": B}),
        ("y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)", {"w": W, "b": B}),
        ("y = Gemm(x, w)", {"w": W}),
        ("y = Gemm(x, w, b)", {"w": W, "b": B[None]}),
        ("y = Gemm(x, w, b)", {"w": W, "b": np.float32(1.5)}),
        ("y = MatMul(x, w)", {"w": W}),
        ("m = MatMul(x, w) y = Add(m, b)", {"w": W, "b": B}),
        ("m = MatMul(x, w) y = Add(b, m)", {"w": W, "b": B}),
        ("m = MatMul(x, w) y = Sub(m, b)", {"w": W, "b": B}),
        (
            "m = Gemm(x, w, b) n = Mul(m, s) o = Div(n, t) y = Add(o, c)",
            {"w": W, "b": B, "c": B, "s": B, "t": np.float32(3)},
        ),
    ],
)
def test_every_fully_connected_layer_is_one_gemm(layer: str, arrays: dict[str, Any]) -> None:
    assert load_and_compare(f"(float[N, 4] x) => (float[N, 3] y) {{ {layer} }}", floats(2, 4), **arrays) == ["Gemm"]


def test_a_constant_that_two_layers_read_in_two_ways_is_kept_for_both() -> None:
    graph = "(float[N, 3] x) => (float[N, 3] y) { a = Gemm(x, w) b = Gemm<transB = 1>(a, w) y = Add(a, b) }"
    assert load_and_compare(graph, floats(2, 3), w=floats(3, 3)) == ["Gemm", "Gemm", "Add"]


def test_a_division_by_zero_stays_what_it_is() -> None:
    graph = "(float[N, 4] x) => (float[N, 3] y) { m = Gemm(x, w) y = Div(m, z) }"
    network = load(onnx_bytes(graph, w=W, z=np.zeros(3, dtype=np.float32)))
    assert [node.op for node in network.nodes] == ["Gemm", "Div"]


def test_convolutions_get_a_bias() -> None:
    graph = "(float[N, 2, 4, 4] x) => (float[N, 3] y) { c = Conv(x, k) p = GlobalMaxPool(c) y = Flatten(p) }"
    network = load(onnx_bytes(graph, k=floats(3, 2, 3, 3)))
    np.testing.assert_array_equal(network.arrays[network.nodes[0].inputs[2]], np.zeros(3, dtype=np.float32))


HALVED = "s = Slice(x, zeros, ends, spatial, steps)"


@pytest.mark.parametrize(
    ("shortcut", "channels"),
    [
        (f"{HALVED} z = Pad(s, pads)", 7),
        (f"{HALVED} z = Pad(s, pads, none)", 7),
        ("r = Slice(x, zero, end, two, pair) s = Slice(r, zero, end, three, pair) z = Pad(s, pads)", 7),
        ("s = AveragePool<kernel_shape = [1, 1], strides = [2, 2]>(x) z = Pad(s, pads)", 7),
    ],
)
def test_a_shortcut_that_pads_channels_is_a_selection(shortcut: str, channels: int) -> None:
    graph = f"""(float[N, 3, 4, 4] x) => (float[N, 2] y) {{
        {shortcut} c = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, k, kb) a = Add(c, z)
        p = GlobalAveragePool(a) f = Flatten(p) y = Gemm(f, w) }}"""
    arrays: dict[str, Any] = {
        "zeros": ints(0, 0),
        "ends": ints(2**62, 2**62),
        "spatial": ints(2, 3),
        "steps": ints(2, 2),
    }
    arrays |= {"zero": ints(0), "end": ints(2**31 - 1), "two": ints(2), "three": ints(3), "pair": ints(2)}
    arrays |= {"pads": ints(0, 1, 0, 0, 0, 3, 0, 0), "none": np.float32(0)}
    ends: dict[str, Any] = {"k": floats(channels, 3, 3, 3), "kb": floats(channels), "w": floats(channels, 2)}
    data = onnx_bytes(graph, **arrays, **ends)
    network, x = load(data), floats(2, 3, 4, 4)
    assert [node.op for node in network.nodes if node.op in ("Slice", "Pad")] == []
    (matrix,) = [array for name, array in network.arrays.items() if is_selection(name) and array.ndim == 4]
    assert matrix.sum() == 3
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pads", "attributes", "value"),
    [
        ((0, 1, 1, 0, 0, 3, 0, 0), "", 0.0),
        ((0, 1, 0, 0, 0, 3, 0, 0), "", 1.0),
        ((0, -1, 0, 0, 0, 5, 0, 0), "", 0.0),
        ((0, 1, 0, 0, 0, 1, 0, 0), '<mode = "reflect">', 0.0),
    ],
)
def test_other_paddings_stay(pads: tuple[int, ...], attributes: str, value: float) -> None:
    channels = 3 + pads[1] + pads[5]
    graph = f"""(float[N, 3, 4, 4] x) => (float[N, 2] y) {{
        z = Pad{attributes}(x, pads, value) p = GlobalAveragePool(z) f = Flatten(p) y = Gemm(f, w) }}"""
    arrays: dict[str, Any] = {"pads": ints(*pads), "value": np.float32(value), "w": floats(channels, 2)}
    assert load_and_compare(graph, floats(2, 3, 4, 4), **arrays)[0] == "Pad"


def test_chains_of_transpositions_are_one() -> None:
    graph = """(float[N, 2, 3, 4] x) => (float[N, 2] y) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Transpose<perm = [0, 3, 1, 2]>(a)
        c = Transpose<perm = [0, 2, 1, 3]>(b) d = Transpose<perm = [0, 1, 3, 2]>(c)
        r = Relu(a) e = Flatten(d) g = Flatten(r) s = Add(e, g) y = Gemm(s, w) }"""
    operators = load_and_compare(graph, floats(2, 2, 3, 4), w=floats(24, 2))
    assert operators.count("Transpose") == 2


def test_slices_and_splits_say_which_positions_they_take() -> None:
    graph = """(float[N, 6] x) => (float[N, 2] y) {
        a = Slice(x, minus4, minus1, one) b = Slice(x, minus3, far, one) l, r = Split<axis = 1, num_outputs = 2>(x)
        s = Add(l, r) t = Add(a, b) u = Add(s, t) y = Gemm(u, w) }"""
    arrays: dict[str, Any] = {
        "minus4": ints(-4),
        "minus1": ints(-1),
        "minus3": ints(-3),
        "far": ints(2**63 - 1),
        "one": ints(1),
    }
    data = onnx_bytes(graph, **arrays, w=floats(3, 2))
    network, x = load(data), floats(2, 6)
    words = [[network.arrays[name].tolist() for name in node.inputs[1:3]] for node in network.nodes[:3]]
    assert words == [[[2], [5]], [[3], [6]], [[3, 3]]]
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-4, atol=1e-5)


def test_casts_to_the_same_type_vanish() -> None:
    graph = """(float[N, 4] x) => (float[N, 2] y) {
        a = Cast<to = 1>(x) i = Cast<to = 7>(a) f = CastLike(i, x) g = CastLike(a, f) s = Add(f, g)
        z = Gemm(s, w) y = Cast<to = 1>(z) }"""
    operators = load_and_compare(graph, floats(2, 4), w=floats(4, 2))
    assert operators == ["Cast", "Cast", "Add", "Gemm"]


@pytest.mark.parametrize(
    ("body", "width"),
    [
        ("z = RMSNormalization(x, g)", 4),
        ("r = Reshape(x, s) n = GroupNormalization<num_groups = 2>(r, g, g) z = Flatten(n)", 4),
    ],
)
def test_newer_operators_are_replaced_by_their_definition(body: str, width: int) -> None:
    graph = f"(float[N, 4] x) => (float[N, 2] y) {{ {body} y = Gemm(z, w) }}"
    data = onnx_bytes(graph, opset=23, g=floats(4), s=ints(0, 4, 1), w=floats(width, 2))
    network, x = load(data), floats(3, 4)
    assert not {node.op for node in network.nodes} & {"RMSNormalization", "GroupNormalization"}
    np.testing.assert_allclose(run_plainly(network, x), run_model(data, x), rtol=1e-4, atol=1e-5)
