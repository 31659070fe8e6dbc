"""What a delta holds bit by bit, and that every kind of network travels as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from modhub.network.modules import ClassModule
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.network.sites import find_sites
from modhub.package.delta import from_delta, to_delta
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from modhub.package.package import GRAPH_FILE
from modhub.package.verify import verify
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.modules import random_decomposition
from tests.support.networks import Builder

if TYPE_CHECKING:
    from modhub.network.network import Network


@given(st.lists(st.booleans(), min_size=15, max_size=15).filter(lambda flags: not all(flags)))
def test_bit_i_of_byte_j_is_element_8j_plus_i(flags: list[bool]) -> None:
    builder = Builder(shape=(5,))
    network = builder.build(builder.gemm(builder.input, 3))
    kept = np.array(flags).reshape(3, 5)
    sites = find_sites(network)
    data = to_delta(network, sites, ClassModule(label="c", row=0, weights={"array0": kept}), base="b")
    packed = load(data)["bits/array0"]
    assert packed.dtype == np.uint8
    assert packed.tolist() == [sum(flag << i for i, flag in enumerate(part)) for part in (flags[:8], flags[8:])]
    read = from_delta(data, network, sites, base="b", calibration=None)
    np.testing.assert_array_equal(read.weights["array0"], kept)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(network=convolutional() | transformers() | recurrent() | tangled() | tangled(), seed=st.integers(0, 1000))
def test_every_kind_of_network_travels_as_a_delta(network: Network, seed: int) -> None:
    packed = pack(random_decomposition(network, seed=seed), Release(forms=("delta", "standalone")))
    base = verify(packed[0].files)
    for package in packed[1:3]:
        delta = {name: data for name, data in package.files.items() if name not in (GRAPH_FILE, WEIGHTS_FILE)}
        expected = package.read(GRAPH_FILE), package.read(WEIGHTS_FILE)
        assert to_onnx(network_of(verify(delta, base=base, form="delta"), base)) == expected
