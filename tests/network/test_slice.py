"""The law that everything rests on: a sliced module computes what the masked parent computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.errors import DecomposeError
from modhub.network.modules import Affine, ClassModule, affine_layers
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.network.trunk import cut_points, trunk_of
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.modules import random_module, with_random_weights
from tests.support.networks import Builder, inputs_for, networks, perceptrons
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from modhub.network.network import Array, Network

some_networks = st.one_of(networks(), perceptrons(), convolutional(), transformers(), recurrent(), tangled())
thorough = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


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
@given(network=some_networks, seed=st.integers(0, 1000))
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
    np.testing.assert_allclose(run_plainly(part, x), run_plainly(masked(network, sites, module), x), atol=1e-5)
    assert part.parameters < network.parameters


def test_branch_channels_on_a_dropped_stream_channel_are_dropped_too() -> None:
    builder = Builder(shape=(3, 8, 8))
    stream = builder.relu(builder.conv(builder.input, 4))
    network = builder.build(builder.gemm(builder.flatten(builder.add(builder.conv(stream, 4), stream)), 3))
    sites = find_sites(network)
    first, second = sites.after(network, "")
    settled = sites.settle({first.id: np.array([0, 1]), second.id: np.array([1, 2, 3])})
    assert settled[second.id].tolist() == [1]


def test_a_branch_that_lands_on_nothing_keeps_a_channel_that_changes_nothing() -> None:
    builder = Builder(shape=(3, 8, 8))
    stream = builder.conv(builder.input, 4)
    hidden = builder.relu(builder.conv(stream, 2))
    added = builder.add(builder.conv(hidden, 4), stream)
    network = builder.build(builder.gemm(builder.flatten(builder.relu(added)), 3))
    sites = find_sites(network)
    first, _, last = sites.after(network, "")
    apart = ClassModule(label="c", row=0, kept={first.id: np.array([0, 1]), last.id: np.array([2, 3])})
    assert sites.settle(apart.kept)[last.id].tolist() == [2]
    arrays = dict(network.arrays)
    branch = network.nodes[3]
    for name in branch.inputs[1:3]:
        arrays[name] = np.zeros_like(arrays[name])
    silent = network.replace(arrays=arrays)
    x = inputs_for(network)
    expected = run_plainly(masked(silent, sites, apart), x)
    np.testing.assert_allclose(run_plainly(sliced(network, sites, apart), x), expected, atol=1e-5)


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
def test_masks_that_do_not_fit_are_refused(kept: dict[object, Array], message: str) -> None:
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


@thorough
@given(network=some_networks, seed=st.integers(0, 1000), share=st.floats(0.05, 1.0))
def test_dropped_weights_are_zero_masked_and_sliced_alike(network: Network, seed: int, share: float) -> None:
    sites = find_sites(network)
    module = with_random_weights(network, random_module(network, sites, seed=seed, share=share), seed=seed)
    x = inputs_for(network, seed=seed)
    small, oracle = run_plainly(sliced(network, sites, module), x), run_plainly(masked(network, sites, module), x)
    np.testing.assert_allclose(small, oracle, atol=1e-5 * max(1.0, float(np.abs(oracle).max())))


def test_weights_that_are_kept_keep_their_value() -> None:
    builder = Builder(shape=(4,))
    network = builder.build(builder.gemm(builder.input, 3))
    kept = np.arange(12).reshape(3, 4) % 2 == 0
    part = masked(network, find_sites(network), ClassModule(label="c", row=0, weights={"array0": kept}))
    np.testing.assert_array_equal(part.arrays["array0"], network.arrays["array0"] * kept)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("nowhere", np.ones((3, 4), dtype=np.bool_)),
        ("array0", np.ones((4, 3), dtype=np.bool_)),
        ("array0", np.ones((3, 4), dtype=np.uint8)),
    ],
)
def test_weight_masks_that_do_not_fit_are_refused(name: str, flags: Array) -> None:
    builder = Builder(shape=(4,))
    network = builder.build(builder.gemm(builder.input, 3))
    message = f"module 'c' masks '{name}', which is no array of weights like {flags.dtype} "
    with pytest.raises(DecomposeError, match=message):
        sliced(network, find_sites(network), ClassModule(label="c", row=0, weights={name: flags}))


@pytest.mark.parametrize(
    ("layer", "width", "message"),
    [("array0", 4, "which is no layer of 4 channels"), ("array1", 5, "no layer"), ("elsewhere", 5, "no layer")],
)
def test_scales_that_do_not_fit_are_refused(layer: str, width: int, message: str) -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 5)), 3))
    ones = np.ones(width, dtype=np.float32)
    module = ClassModule(label="c", row=0, affine={layer: Affine(scale=ones, offset=ones)})
    with pytest.raises(DecomposeError, match=message):
        sliced(network, find_sites(network), module)


def test_a_row_that_the_parent_lacks_is_refused() -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.input, 3))
    with pytest.raises(DecomposeError, match="module 'c' scores logit 3, the parent has 3"):
        sliced(network, find_sites(network), ClassModule(label="c", row=3))


def test_layers_that_share_their_weights_have_no_scale_of_their_own() -> None:
    builder = Builder(shape=(4,))
    weights, bias = builder.weight((4, 4)), builder.bias(4)
    first = builder.apply("Gemm", builder.input, weights, bias, transB=1)
    second = builder.apply("Gemm", builder.relu(first), weights, bias, transB=1)
    network = builder.build(builder.gemm(second, 3))
    assert affine_layers(network) == {"array2"}
