"""Whatever torch's exporters write of a common architecture loads, computes the same, and can be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub.network.load import load
from modhub.network.report import describe
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.network.trunk import NO_CUT
from modhub.package.operators import ALLOWED
from tests.support.modules import random_module
from tests.support.runs import run_plainly
from tests.support.torch_models import FAMILIES, exported, torch_answers, torch_inputs

if TYPE_CHECKING:
    from modhub.network.network import Network

OPEN = {
    "vision transformer": 8,
    "text transformer": 4,
    "ConvNeXt": 4,
}
"""How many sites can be cut beside a residual stream with layer-norm; elsewhere all but the output can be."""


def check(family: str, data: bytes) -> Network:
    """Check that an export computes what torch computes, and that cutting it is exact."""
    network = load(data)
    x = torch_inputs(family, batch=4)
    np.testing.assert_allclose(run_plainly(network, x.numpy()), torch_answers(family, x), atol=1e-4)
    sites = find_sites(network)
    for seed in range(3):
        module = random_module(network, sites, row=seed, seed=seed, share=0.3 + 0.2 * seed)
        part, oracle = sliced(network, sites, module), masked(network, sites, module)
        # An odd seed adds a head, which outweighs what is cut from networks as small as these.
        assert seed % 2 or part.parameters < network.parameters
        np.testing.assert_allclose(run_plainly(part, x.numpy()), run_plainly(oracle, x.numpy()), atol=1e-5)
    return network


@pytest.mark.parametrize("opset", [13, 14, 17])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_through_torchscript(family: str, opset: int) -> None:
    if "transformer" in family and opset < 14:
        pytest.skip("torch has no such export: scaled_dot_product_attention needs opset 14")
    network = check(family, exported(family, dynamo=False, opset=opset))
    sites = find_sites(network)
    reasons = [row["pinned"] for row in describe(sites) if row["pinned"]]
    if family in OPEN:
        assert len(sites.after(network, NO_CUT)) == OPEN[family]
    else:
        assert reasons == ["it is the output"]
    assert {node.op for node in network.nodes} <= ALLOWED


@pytest.mark.parametrize("opset", [18, 23])
@pytest.mark.parametrize("family", ["ResNet without projections", "vision transformer", "LSTM"])
def test_an_export_through_dynamo(family: str, opset: int) -> None:
    network = check(family, exported(family, dynamo=True, opset=opset))
    assert {node.op for node in network.nodes} <= ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20, 21, 23])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_export_through_dynamo(family: str, opset: int) -> None:
    check(family, exported(family, dynamo=True, opset=opset))


def test_a_head_of_attention_is_one_unit() -> None:
    network = load(exported("vision transformer", dynamo=False, opset=17))
    heads = [site for site in find_sites(network).sites if site.size == 3]
    assert len(heads) == 2
    sites = find_sites(network)
    for site in heads:
        start = sites.offsets[site.id]
        rows = [use for use in sites.arrays if use.role == "row" and start in use.channels]
        assert {len(use.channels) for use in rows if use.array == site.id} == {36}
        assert all(np.bincount(use.channels - start).tolist() == [12, 12, 12] for use in rows)
