"""An outline has the shapes of the network, and takes no memory for its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.network.outline import outline, outlined
from modhub.network.shapes import infer_shapes
from modhub.network.sites import find_sites
from modhub.network.slice import sliced
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.modules import random_module
from tests.support.networks import Builder, networks, perceptrons

if TYPE_CHECKING:
    from modhub.network.network import Network

some_networks = st.one_of(networks(), perceptrons(), convolutional(), transformers(), recurrent(), tangled())


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(network=some_networks, seed=st.integers(0, 1000), share=st.floats(0.05, 1.0))
def test_a_module_cut_out_of_an_outline_has_the_modules_shapes(network: Network, seed: int, share: float) -> None:
    sites = find_sites(network)
    module = random_module(network, sites, row=seed % int(network.output_shape[-1]), seed=seed, share=share)
    found, whole = sliced(outline(network), sites, outlined(module)), sliced(network, sites, module)
    assert found.nodes == whole.nodes
    assert infer_shapes(found) == infer_shapes(whole)
    for name, array in whole.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape


def test_weights_of_an_outline_take_no_memory_before_and_after_they_are_cut() -> None:
    builder = Builder(shape=(8,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 64)), 3))
    sites = find_sites(network)
    module = random_module(network, sites, share=0.5)
    assert module.affine
    for found in (outline(network), sliced(outline(network), sites, outlined(module))):
        weights = [array for array in found.arrays.values() if array.ndim > 1]
        assert len(weights) == 2
        assert not any(any(array.strides) for array in weights)
    assert sorted(array.shape for array in weights) == [(1, 32), (32, 8)]
