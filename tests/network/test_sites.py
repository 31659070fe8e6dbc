"""Which channels belong together in each kind of layer, what is pinned and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modhub.errors import DecomposeError
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.network.trunk import NO_CUT
from modhub.package.sites_file import sites_from_json, sites_to_json
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.networks import Builder, inputs_for, networks, perceptrons
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Network
    from modhub.network.sites import Sites

    Kept = Mapping[str, np.ndarray[tuple[int], np.dtype[np.int64]]]

any_network = st.one_of(networks(), perceptrons(), convolutional(), transformers(), recurrent(), tangled())


def finish(builder: Builder, value: str) -> Network:
    """Return a network that ends in a classifier over a value."""
    return builder.build(builder.gemm(builder.flatten(value), 3))


def open_sizes(network: Network) -> list[int]:
    """Return the sizes of the sites that can be cut."""
    return [site.size for site in find_sites(network).after(network, NO_CUT)]


def cut(network: Network, kept: Kept) -> Network:
    """Return the part that keeps some channels, after checking that it computes what the masked parent does."""
    sites = find_sites(network)
    module = ClassModule(label="c", row=1, kept=kept)
    part, x = sliced(network, sites, module), inputs_for(network)
    np.testing.assert_allclose(run_plainly(part, x), run_plainly(masked(network, sites, module), x), atol=1e-5)
    return part


def reasons(sites: Sites) -> list[str]:
    """Return why sites are pinned, the output aside."""
    return [site.pinned for site in sites.sites if site.pinned not in ("", "it is the output")]


def test_a_grouped_convolution_is_cut_in_whole_groups() -> None:
    builder = Builder(shape=(3, 4, 4))
    widened = builder.conv(builder.input, 6)
    network = finish(builder, builder.conv(widened, 9, groups=3))
    assert open_sizes(network) == [3]
    part = cut(network, {"array0": np.array([0, 2])})
    grouped = part.nodes[1]
    assert grouped.integer("group", 1) == 2
    assert [part.arrays[name].shape for name in grouped.inputs[1:]] == [(6, 2, 3, 3), (6,)]
    np.testing.assert_array_equal(part.arrays["array2"], network.arrays["array2"][[0, 1, 2, 6, 7, 8]])


def test_a_depthwise_convolution_passes_channels_on() -> None:
    builder = Builder(shape=(3, 4, 4))
    network = finish(builder, builder.depthwise(builder.conv(builder.input, 5)))
    sites = find_sites(network)
    assert [(site.id, site.size, site.layers) for site in sites.sites[:1]] == [("array0", 5, ("array0", "array2"))]
    part = cut(network, {"array0": np.array([1, 4])})
    assert part.nodes[1].integer("group", 1) == 2


def test_a_channelwise_gate_belongs_to_the_channels_it_scales() -> None:
    builder = Builder(shape=(3, 4, 4))
    features = builder.conv(builder.input, 6)
    squeezed = builder.relu(builder.conv(builder.global_pool(features), 2, kernel=1))
    gate = builder.apply("Sigmoid", builder.conv(squeezed, 6, kernel=1))
    network = finish(builder, builder.apply("Mul", features, gate))
    assert [(s.id, s.layers) for s in find_sites(network).sites[:2]] == [
        ("array0", ("array0", "array4")),
        ("array2", ("array2",)),
    ]
    part = cut(network, {"array0": np.array([0, 5]), "array2": np.array([1])})
    assert part.arrays["array4"].shape == (2, 1, 1, 1)


def test_the_columns_of_an_embedding_are_channels() -> None:
    builder = Builder(shape=(4,), vocabulary=7)
    embedded = builder.apply("Gather", builder.weight((7, 5)), builder.input, shape=(4, 5))
    network = finish(builder, embedded)
    part = cut(network, {"array0": np.array([0, 3])})
    assert part.arrays["array0"].shape == (7, 2)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_hidden_unit_is_a_row_of_every_gate_and_a_column_of_the_recurrence(op: str, gates: int) -> None:
    builder = Builder(shape=(4,), vocabulary=7)
    embedded = builder.apply("Gather", builder.weight((7, 3)), builder.input, shape=(4, 3))
    steps = builder.apply("Transpose", embedded, shape=(4, 3), perm=(1, 0, 2))
    weights = [builder.weight(shape) for shape in ((2, 5 * gates, 3), (2, 5 * gates, 5), (2, 10 * gates))]
    states = builder.apply(op, steps, *weights, shape=(4, 2, 5), hidden_size=5, direction="bidirectional")
    batch_first = builder.apply("Transpose", states, shape=(4, 2, 5), perm=(2, 0, 1, 3))
    network = finish(builder, batch_first)
    kept = np.array([1, 4])
    part = cut(network, {"array0": np.array([0, 2]), "array1": kept})
    rows = np.concatenate([kept + 5 * gate for gate in range(gates)])
    np.testing.assert_array_equal(part.arrays["array1"], network.arrays["array1"][:, rows][:, :, [0, 2]])
    np.testing.assert_array_equal(part.arrays["array2"], network.arrays["array2"][:, rows][:, :, kept])
    assert part.arrays["array3"].shape == (2, 4 * gates)
    assert part.nodes[2].integer("hidden_size", 0) == 2


def test_a_layer_behind_layer_norm_is_pinned_and_its_branches_are_not() -> None:
    builder = Builder(shape=(4,), vocabulary=7)
    stream = builder.apply("Gather", builder.weight((7, 6)), builder.input, shape=(4, 6))
    normed = builder.apply("LayerNormalization", stream, builder.bias(6), builder.bias(6), axis=-1)
    branch = builder.matmul(builder.relu(builder.matmul(normed, 5)), 6)
    network = finish(builder, builder.add(stream, branch))
    assert open_sizes(network) == [5, 6]
    assert reasons(find_sites(network)) == ["LayerNormalization node 'layernormalization1' normalises over it"]
    part = cut(network, {"array3": np.array([1, 3]), "array5": np.array([0])})
    assert part.arrays["array5"].shape == (2, 1)


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        ("LRN", {"size": 3}, "has no rule for cutting"),
        ("Softmax", {"axis": 1}, "normalises over it"),
        ("CumSum", {}, "has no rule for cutting"),
    ],
)
def test_an_operator_that_mixes_channels_pins_them(op: str, attributes: dict[str, Any], reason: str) -> None:
    builder = Builder(shape=(3, 4, 4))
    axis = [builder.array(np.array(1, dtype=np.int64))] if op == "CumSum" else []
    mixed = builder.apply(op, builder.conv(builder.input, 6), *axis, **attributes)
    network = finish(builder, mixed)
    assert open_sizes(network) == []
    assert reasons(find_sites(network)) == [f"{op} node {mixed!r} {reason}"]
    with pytest.raises(DecomposeError, match=f"cuts site '.*', which cannot be cut: {op} node"):
        cut(network, {find_sites(network).sites[0].id: np.array([0])})


def test_an_array_that_is_read_in_another_way_too_pins_its_channels() -> None:
    builder = Builder(shape=(4,))
    weights = builder.weight((4, 4))
    first = builder.apply("Gemm", builder.input, weights, builder.bias(4), transB=1)
    square = builder.apply("Gemm", builder.relu(first), weights)
    network = builder.build(builder.gemm(square, 3))
    assert any("is also read elsewhere" in reason or "has no rule" in reason for reason in reasons(find_sites(network)))
    assert open_sizes(network) == []


def test_layers_that_share_their_weights_share_their_channels() -> None:
    builder = Builder(shape=(4,))
    weights, bias = builder.weight((4, 4)), builder.bias(4)
    first = builder.apply("Gemm", builder.input, weights, bias, transB=1)
    second = builder.apply("Gemm", builder.relu(first), weights, bias, transB=1)
    network = builder.build(builder.gemm(builder.relu(second), 3))
    assert reasons(find_sites(network)) == ["its array 'array0' is also read elsewhere"]


def test_of_a_part_one_channel_is_always_kept() -> None:
    builder = Builder(shape=(3, 4, 4))
    left, right = builder.split(builder.conv(builder.input, 6), 2, 4)
    pooled = builder.concat(builder.max_pool(left), builder.average_pool(right))
    network = finish(builder, pooled)
    sites = find_sites(network)
    assert [part.tolist() for part in sites.parts] == [[0, 1], [2, 3, 4, 5]]
    assert sites.settle({"array0": np.array([4])})["array0"].tolist() == [0, 4]
    cut(network, {"array0": np.array([4])})


def test_a_branch_that_is_read_elsewhere_keeps_what_the_stream_dropped() -> None:
    builder = Builder(shape=(3, 4, 4))
    stream = builder.conv(builder.input, 4)
    branch = builder.conv(stream, 4)
    network = finish(builder, builder.concat(builder.add(branch, stream), branch))
    sites = find_sites(network)
    settled = sites.settle({"array0": np.array([0]), "array2": np.array([0, 3])})
    assert settled["array2"].tolist() == [0, 3]


def test_branches_that_land_alike_share_one_matrix() -> None:
    builder = Builder(shape=(3, 4, 4))
    stream = builder.conv(builder.input, 4)
    for _ in range(3):
        stream = builder.add(stream, builder.relu(builder.conv(stream, 4)))
    branches = np.array([1, 2])
    part = cut(finish(builder, stream), {f"array{2 * layer}": branches for layer in (1, 2, 3)})
    assert [name for name in part.arrays if name.startswith("selection/")] == ["selection/relu2"]


def test_a_branch_that_cannot_be_cut_stays_whole_whatever_the_stream_dropped() -> None:
    builder = Builder(shape=(3, 4, 4))
    stream = builder.conv(builder.input, 4)
    branch = builder.conv(stream, 4)
    normal = builder.apply("LRN", branch, size=3)
    network = finish(builder, builder.concat(builder.add(branch, stream), normal))
    settled = find_sites(network).settle({"array0": np.array([0])})
    assert "array2" not in settled
    cut(network, {"array0": np.array([0])})


def test_channels_made_by_no_layer_stay_beside_those_that_are_cut() -> None:
    builder = Builder(shape=(3, 4, 4))
    network = finish(builder, builder.concat(builder.input, builder.conv(builder.input, 5)))
    assert open_sizes(network) == [5]
    assert reasons(find_sites(network)) == ["Concat node 'concat1' joins it, but no layer makes it"]
    part = cut(network, {"array0": np.array([2])})
    assert part.arrays["array2"].shape == (1, 4 * 16)


def test_picked_channels_are_renumbered() -> None:
    builder = Builder(shape=(3, 4, 4))
    indices = builder.array(np.array([5, -6, 2, 2, 0], dtype=np.int64))
    picked = builder.apply("Gather", builder.conv(builder.input, 6), indices, shape=(5, 4, 4), axis=1)
    network = finish(builder, picked)
    part = cut(network, {"array1": np.array([2, 5])})
    gather = next(node for node in part.nodes if node.op == "Gather")
    assert part.arrays[gather.inputs[1]].tolist() == [1, 0, 0]


def test_a_slice_counts_what_is_left_before_it() -> None:
    builder = Builder(shape=(3, 4, 4))
    bounds = [builder.array(np.array([n], dtype=np.int64)) for n in (2, 5, 1)]
    network = finish(builder, builder.apply("Slice", builder.conv(builder.input, 6), *bounds, shape=(3, 4, 4)))
    part = cut(network, {"array3": np.array([1, 2, 4, 5])})
    (node,) = [node for node in part.nodes if node.op == "Slice"]
    assert [part.arrays[name].tolist() for name in node.inputs[1:3]] == [[1], [3]]


@pytest.mark.parametrize(("start", "end", "step"), [(5, 0, -1), (0, 6, 2), (-3, 6, 1)])
def test_a_slice_that_cannot_be_followed_pins(start: int, end: int, step: int) -> None:
    builder = Builder(shape=(3, 4, 4))
    bounds = [builder.array(np.array([n], dtype=np.int64)) for n in (start, end, 1, step)]
    taken = len(range(6)[start:end:step])
    network = finish(builder, builder.apply("Slice", builder.conv(builder.input, 6), *bounds, shape=(taken, 4, 4)))
    assert open_sizes(network) == []
    assert len(reasons(find_sites(network))) == 1


def test_shuffled_channels_are_tied_across_their_groups() -> None:
    builder = Builder(shape=(3, 4, 4))
    parts = builder.reshape(builder.conv(builder.input, 8), 2, 4, 4, 4)
    network = finish(builder, builder.reshape(builder.transpose(parts, 2, 1, 3, 4), 8, 4, 4))
    assert open_sizes(network) == [4]
    part = cut(network, {"array0": np.array([1, 2])})
    np.testing.assert_array_equal(part.arrays["array0"], network.arrays["array0"][[1, 2, 5, 6]])


@settings(max_examples=100)
@given(any_network)
def test_sites_survive_their_file(network: Network) -> None:
    data = sites_to_json(find_sites(network))
    assert sites_to_json(sites_from_json(data)) == data


@settings(max_examples=60)
@given(any_network, st.integers(0, 1000))
def test_settling_twice_changes_nothing(network: Network, seed: int) -> None:
    sites, random = find_sites(network), np.random.default_rng(seed)
    kept = {site.id: np.flatnonzero(random.random(site.size) < 0.4) for site in sites.after(network, NO_CUT)}
    once = sites.settle(kept)
    twice = sites.settle(once)
    assert {key: value.tolist() for key, value in once.items()} == {key: v.tolist() for key, v in twice.items()}
    assert all(len(channels) for channels in once.values())


def test_an_unknown_site_is_refused() -> None:
    builder = Builder(shape=(6,))
    with pytest.raises(DecomposeError, match="the network has no site 'nowhere'"):
        _ = find_sites(builder.build(builder.gemm(builder.input, 3)))["nowhere"]
