"""Where the trunk ends when somebody asks for cheap composites."""

from __future__ import annotations

import pytest

from modhub.datasets.samples import read_sample
from modhub.decomposers.cut import COST, KEPT, MODULES, choose_cut
from modhub.network.load import load
from modhub.network.sites import find_sites
from modhub.network.trunk import cut_points
from tests.support.networks import Builder
from tests.support.samples import small_network


def test_a_cheap_cut_lies_as_early_as_ten_modules_can_pay() -> None:
    network = load(read_sample("cifar10-resnet20.onnx"))
    sites = find_sites(network)
    cut, maskable = choose_cut(network, sites, "cheap")
    assert cut == "relu_16"
    assert maskable
    shares = {point.value: point.tail_share for point in cut_points(network)}
    costs = {value: 1 + (MODULES * KEPT - 1) * share for value, share in shares.items()}
    values = list(costs)
    assert costs[cut] <= COST < costs[values[values.index(cut) - 1]]


@pytest.mark.parametrize("wish", ["cheap", "auto"])
def test_a_network_that_cannot_be_cut_cheaply_is_cut_all_the_same(wish: str) -> None:
    network = small_network()
    cut, maskable = choose_cut(network, find_sites(network), wish)
    assert maskable
    assert not cut or cut in {point.value for point in cut_points(network)}


def test_a_single_layer_has_no_cheap_cut_and_the_reason_is_told_elsewhere() -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 8)), 3))
    assert choose_cut(network, find_sites(network), "cheap")[0] == ""
