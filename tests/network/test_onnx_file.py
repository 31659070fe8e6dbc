"""Networks as bytes, and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from modhub.errors import InvalidNetwork
from modhub.network.load import load
from modhub.network.onnx_file import fingerprint, from_onnx, to_onnx
from modhub.network.weights_file import weight_parts
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.networks import Builder, networks, perceptrons

if TYPE_CHECKING:
    from modhub.network.network import Array, Network

any_network = st.one_of(networks(), perceptrons(), convolutional(), transformers(), recurrent(), tangled())


def small() -> Network:
    builder = Builder(shape=(4,))
    return builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 5)), 3))


@settings(max_examples=60)
@given(any_network)
def test_from_onnx_is_the_inverse_of_to_onnx(network: Network) -> None:
    network = network.replace(metadata={"recipe": "union", "author": "nobody"})
    graph, weights = to_onnx(network)
    again = from_onnx(graph, weights, input_port=network.input)
    assert again.nodes == network.nodes
    assert (again.output, again.output_shape, again.metadata) == (
        network.output,
        network.output_shape,
        network.metadata,
    )
    assert set(again.arrays) == set(network.arrays)
    for name, array in network.arrays.items():
        assert again.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(again.arrays[name], array)
    assert to_onnx(again) == (graph, weights)


def test_equal_networks_give_equal_bytes_in_every_process(data_folder: Path) -> None:
    path = data_folder / "cifar10-lenet.onnx"
    program = (
        "import sys; from modhub.network.load import load; from modhub.network.onnx_file import fingerprint; "
        "print(fingerprint(load(sys.argv[1])))"
    )
    own = fingerprint(load(path))
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
            text=True,
        )
        assert result.stdout.strip() == own


def test_the_fingerprint_depends_on_graph_and_weights_and_nothing_else() -> None:
    network = small()
    first = next(iter(network.arrays))
    other_weights = {**network.arrays, first: network.arrays[first] + np.float32(1e-6)}
    other_nodes = (network.nodes[0], network.nodes[1].__class__(**{**vars(network.nodes[1]), "op": "Tanh"}))
    assert fingerprint(network) == fingerprint(network.replace(metadata={"a": "b"}))
    assert fingerprint(network) != fingerprint(network.replace(arrays=other_weights))
    assert fingerprint(network) != fingerprint(network.replace(nodes=(*other_nodes, *network.nodes[2:])))
    assert len(fingerprint(network)) == 64


def test_the_graph_points_into_the_weights() -> None:
    network = small()
    graph, weights = to_onnx(network)
    for tensor in onnx.load_model_from_string(graph).graph.initializer:
        found = {entry.key: entry.value for entry in tensor.external_data}
        offset, length = weight_ranges(weights)[tensor.name]
        assert found == {"location": "weights.safetensors", "offset": str(offset), "length": str(length)}
        array = np.frombuffer(weights[offset : offset + length], dtype=np.float32).reshape(tuple(tensor.dims))
        np.testing.assert_array_equal(array, network.arrays[tensor.name])


def test_shapes_and_scalars_stay_inside_the_graph() -> None:
    builder = Builder(shape=(2, 3))
    half = builder.array(np.array(0.5, dtype=np.float32))
    network = builder.build(builder.gemm(builder.apply("Mul", builder.reshape(builder.input, 6), half), 2))
    _, weights = to_onnx(network)
    assert {tuple(network.arrays[name].shape) for name in weight_ranges(weights)} == {(2, 6), (2,)}


@pytest.mark.parametrize("case", ["mixed", "none", "empty array"])
def test_weights_are_written_as_the_library_writes_them(case: str) -> None:
    random = np.random.default_rng(0)
    cases: dict[str, dict[str, Array]] = {
        "mixed": {
            "b": random.normal(size=(3, 2)).astype(np.float32),
            "a/ä": random.normal(size=(5, 4)).astype(np.float32).T,
            "double": random.normal(size=(2,)),
            "half": random.normal(size=(7,)).astype(np.float16),
        },
        "none": {},
        "empty array": {"e": np.zeros((0, 3), dtype=np.float32), "z": np.ones(1, dtype=np.float32)},
    }
    arrays = cases[case]
    parts, ranges = weight_parts(arrays)
    written = b"".join(parts)
    assert written == save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    assert ranges == weight_ranges(written)


def weight_ranges(weights: bytes) -> dict[str, tuple[int, int]]:
    """Map each array of a safetensors file to its `(offset, length)` in bytes from the start of the file."""
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    entries = ((name, entry["data_offsets"]) for name, entry in header.items() if name != "__metadata__")
    return {name: (8 + length + begin, end - begin) for name, (begin, end) in entries}


def test_bytes_that_are_no_network_are_refused() -> None:
    graph, weights = to_onnx(small())
    port = small().input
    with pytest.raises(InvalidNetwork, match="cannot be read"):
        from_onnx(b"\xff", weights, input_port=port)
    with pytest.raises(InvalidNetwork, match="cannot be read"):
        from_onnx(graph, b"\xff", input_port=port)
    _, others = to_onnx(Builder(shape=(4,)).build("features"))
    with pytest.raises(InvalidNetwork, match=r"array 'array0' of shape \(5, 4\) is not in weights\.safetensors"):
        from_onnx(graph, others, input_port=port)


def test_nodes_with_graphs_inside_are_refused() -> None:
    graph, weights = to_onnx(small())
    model = onnx.load_model_from_string(graph)
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("body", onnx.GraphProto(name="inner")))
    with pytest.raises(InvalidNetwork, match="Relu node 'relu1' holds a graph attribute 'body'"):
        from_onnx(model.SerializeToString(), weights, input_port=small().input)
