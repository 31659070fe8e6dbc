"""Where a network can be cut in two, what each half costs, and what shapes lie between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings

from modhub.errors import DecomposeError, InvalidNetwork
from modhub.network.cost import macs
from modhub.network.shapes import infer_shapes
from modhub.network.sites import find_sites
from modhub.network.trunk import NO_CUT, cut_points, trunk_of, trunk_size
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.networks import Builder, inputs_for, networks
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from modhub.network.network import Network


def residual() -> Network:
    builder = Builder(shape=(3, 8, 8))
    stem = builder.relu(builder.conv(builder.input, 4))
    branch = builder.conv(builder.relu(builder.conv(stem, 6)), 4)
    total = builder.relu(builder.add(branch, stem))
    return builder.build(builder.gemm(builder.flatten(builder.global_pool(total)), 5))


def test_a_network_can_be_cut_where_one_value_crosses() -> None:
    network = residual()
    points = cut_points(network)
    assert [point.value for point in points] == ["relu1", "flatten8"]
    first = points[0]
    assert first.nodes == 2
    assert first.trunk_macs == 64 * 4 * 27
    assert first.tail_macs == 64 * (6 * 36 + 4 * 54) + 20
    assert first.tail_weights == 6 * 36 + 6 + 4 * 54 + 4 + 20 + 5
    assert first.tail_share == pytest.approx(first.tail_macs / (first.trunk_macs + first.tail_macs))
    assert macs(network) == first.trunk_macs + first.tail_macs


@settings(max_examples=30)
@given(networks())
def test_a_trunk_computes_the_value_at_its_end(network: Network) -> None:
    x, shapes = inputs_for(network), infer_shapes(network)
    for point in cut_points(network):
        trunk = trunk_of(network, point.value)
        assert trunk.output_shape == shapes[point.value]
        assert trunk.nodes == network.nodes[: len(trunk.nodes)]
        assert run_plainly(trunk, x).shape[1:] == shapes[point.value][1:]
        assert macs(trunk) == point.trunk_macs


def test_no_cut_means_no_trunk() -> None:
    assert trunk_size(residual(), NO_CUT) == 0


def test_a_cut_elsewhere_is_refused_with_the_places_there_are() -> None:
    expected = "cannot cut at 'conv2': the places where this network can be cut are relu1, flatten8"
    with pytest.raises(DecomposeError) as caught:
        trunk_size(residual(), "conv2")
    assert str(caught.value) == expected


def test_sites_behind_a_cut_do_not_reach_into_the_trunk() -> None:
    network = residual()
    sites = find_sites(network)
    # The stream starts in the trunk, so of the tail only the branch inside and its end are free.
    assert [site.id for site in sites.after(network, "relu1")] == ["array2", "array4"]
    assert [site.id for site in sites.after(network, "flatten8")] == []


@settings(max_examples=40)
@given(convolutional() | transformers() | recurrent() | tangled() | tangled())
def test_every_shape_is_known_and_right(network: Network) -> None:
    shapes = infer_shapes(network)
    for name in [network.output, *(node.outputs[0] for node in network.nodes[-4:])]:
        part = network.replace(output=name, output_shape=shapes[name])
        found = run_plainly(part, inputs_for(network, batch=5)).shape
        assert found == tuple(size if isinstance(size, int) else _for_five(size) for size in shapes[name])


def _for_five(symbol: str) -> int:
    return 5 * int(symbol.partition("*")[2] or 1)


def test_a_batch_that_is_folded_into_another_axis_keeps_its_factor() -> None:
    builder = Builder(shape=(2, 3))
    target = builder.array(np.array([-1, 3], dtype=np.int64))
    folded = builder.apply("Reshape", builder.input, target, shape=(3,))
    assert infer_shapes(builder.build(folded))[folded] == ("batch*2", 3)


def test_a_shape_that_depends_on_values_is_refused() -> None:
    builder = Builder(shape=(3,))
    found = builder.apply("Cast", builder.apply("NonZero", builder.input, shape=(3,)), to=1)
    with pytest.raises(
        InvalidNetwork, match="the shape of 'nonzero0', made by NonZero node 'nonzero0', cannot be known"
    ):
        infer_shapes(builder.build(found))


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_costs_its_weights_at_every_step(op: str, gates: int) -> None:
    builder = Builder(shape=(5,), vocabulary=9)
    table = builder.weight((9, 2))
    embedded = builder.apply("Gather", table, builder.input, shape=(5, 2))
    steps = builder.apply("Transpose", embedded, shape=(5, 2), perm=(1, 0, 2))
    weights = (builder.weight((1, 7 * gates, 2)), builder.weight((1, 7 * gates, 7)))
    states = builder.apply(op, steps, *weights, shape=(5, 1, 7), hidden_size=7)
    assert macs(builder.build(states)) == 5 * (7 * gates * 2 + 7 * gates * 7)


def test_matrix_products_are_counted() -> None:
    builder = Builder(shape=(6, 4))
    product = builder.apply("MatMul", builder.input, builder.transpose(builder.input, 2, 1), shape=(6, 6))
    assert macs(builder.build(product)) == 6 * 6 * 4
