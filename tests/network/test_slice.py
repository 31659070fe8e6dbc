"""The law that everything rests on: a sliced module computes what the masked parent computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.errors import DecomposeError
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.network.trunk import cut_points, trunk_of
from tests.support.modules import random_module
from tests.support.networks import Builder, inputs_for, networks, perceptrons
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from modhub.network.network import Network

some_networks = st.one_of(networks(), perceptrons())
thorough = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@thorough
@given(network=some_networks, seed=st.integers(0, 1000), share=st.floats(0.05, 1.0))
def test_sliced_equals_masked(network: Network, seed: int, share: float) -> None:
    sites = find_sites(network)
    module = random_module(network, sites, row=seed % int(network.output_shape[-1]), seed=seed, share=share)
    x = inputs_for(network, seed=seed)
    small, oracle = run_plainly(sliced(network, sites, module), x), run_plainly(masked(network, sites, module), x)
    assert small.shape == (len(x), 1)
    np.testing.assert_allclose(small, oracle, atol=1e-5 * max(1.0, float(np.abs(oracle).max())))


@thorough
@given(network=some_networks, seed=st.integers(0, 1000))
def test_a_module_that_keeps_everything_scores_its_own_logit(network: Network, seed: int) -> None:
    sites = find_sites(network)
    row = seed % int(network.output_shape[-1])
    x = inputs_for(network, seed=seed)
    whole = run_plainly(sliced(network, sites, ClassModule(label="c", row=row)), x)
    np.testing.assert_allclose(whole[:, 0], run_plainly(network, x)[:, row], atol=1e-5)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), seed=st.integers(0, 1000))
def test_masks_behind_a_cut_leave_the_trunk_alone(network: Network, seed: int) -> None:
    sites = find_sites(network)
    for point in cut_points(network)[:2]:
        part = sliced(network, sites, random_module(network, sites, seed=2 * seed, cut=point.value))
        trunk = trunk_of(network, point.value)
        for name, array in trunk.arrays.items():
            assert np.array_equal(part.arrays[name], array)
        assert part.nodes[: len(trunk.nodes)] == trunk.nodes


def test_slicing_really_makes_it_smaller() -> None:
    builder = Builder(shape=(3, 8, 8))
    hidden = builder.relu(builder.conv(builder.input, 16))
    network = builder.build(builder.gemm(builder.flatten(hidden), 4))
    sites = find_sites(network)
    (site,) = sites.after(network, "")
    part = sliced(network, sites, ClassModule(label="c", row=2, kept={site.id: np.array([1, 5, 9])}))
    shapes = sorted(array.shape for _, array in part.weights())
    assert shapes == [(1,), (1, 3 * 64), (3,), (3, 3, 3, 3)]


def test_a_residual_branch_keeps_its_own_subset_of_the_stream() -> None:
    builder = Builder(shape=(3, 8, 8))
    stream = builder.relu(builder.conv(builder.input, 8))
    branch = builder.conv(builder.relu(builder.conv(stream, 6)), 8)
    network = builder.build(builder.gemm(builder.flatten(builder.relu(builder.add(branch, stream))), 4))
    sites = find_sites(network)
    assert [site.size for site in sites.after(network, "")] == [8, 6, 8]
    last = sites.after(network, "")[2]
    module = ClassModule(label="c", row=0, kept={last.id: np.array([2, 3])})
    part = sliced(network, sites, module)
    x = inputs_for(network)
    np.testing.assert_allclose(
        run_plainly(part, x), run_plainly(masked(network, sites, module), x), atol=1e-5
    )
    assert part.parameters < network.parameters


def test_branch_channels_on_a_dropped_stream_channel_are_dropped_too() -> None:
    builder = Builder(shape=(3, 8, 8))
    stream = builder.relu(builder.conv(builder.input, 4))
    network = builder.build(builder.gemm(builder.flatten(builder.add(builder.conv(stream, 4), stream)), 3))
    sites = find_sites(network)
    first, second = sites.after(network, "")
    settled = sites.settle({first.id: np.array([0, 1]), second.id: np.array([1, 2, 3])})
    assert settled[second.id].tolist() == [1]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"nowhere": np.array([0])}, "no site 'nowhere'"),
        ({0: np.array([], dtype=np.int64)}, "not ascending numbers below 5"),
        ({0: np.array([3, 1])}, "not ascending numbers below 5"),
        ({0: np.array([0, 5])}, "not ascending numbers below 5"),
        ({0: np.array([-1, 2])}, "not ascending numbers below 5"),
    ],
)
def test_masks_that_do_not_fit_are_refused(kept: dict[object, np.ndarray], message: str) -> None:  # type: ignore[type-arg]
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 5)), 3))
    sites = find_sites(network)
    named = {sites.sites[0].id if key == 0 else str(key): value for key, value in kept.items()}
    with pytest.raises(DecomposeError, match=message):
        sliced(network, sites, ClassModule(label="c", row=0, kept=named))


def test_the_output_cannot_be_cut() -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.input, 3))
    sites = find_sites(network)
    with pytest.raises(DecomposeError, match="it is the output"):
        sliced(network, sites, ClassModule(label="c", row=0, kept={sites.sites[0].id: np.array([0])}))
