"""All modules in one forward pass score what each scores alone, whatever the network is made of."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modhub.decomposers.module_batch import ModuleBatch
from modhub.engines.runtime import Session
from modhub.errors import DecomposeError
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.slice import masked, sliced
from tests.support.architectures import GATES, convolutional, recurrent, tangled, transformers
from tests.support.batches import batch_of, maskable_sites
from tests.support.networks import inputs_for
from tests.support.onnx_graphs import floats, ints, onnx_bytes
from tests.support.torch_models import FAMILIES, exported

if TYPE_CHECKING:
    from modhub.network.network import Network

NEAR = 1e-4


def module_batch(network: Network, *, seed: int, share: float = 0.5) -> tuple[ModuleBatch, torch.Tensor]:
    """Return all modules of a network with random scales and offsets, and masks that keep a random share."""
    batch = batch_of(network, seed=seed)
    return batch, batch.masks(batch.count(share))


def check_each_alone(network: Network, *, seed: int) -> None:
    """Compare every module of a batch with the same module masked, and cut out."""
    batch, masks = module_batch(network, seed=seed)
    x = inputs_for(network, seed=seed)
    with torch.no_grad():
        scores = batch(torch.from_numpy(x), masks).numpy()
        each = batch(torch.from_numpy(x), masks.unsqueeze(1).expand(-1, len(x), -1)).numpy()
    np.testing.assert_allclose(each, scores, atol=NEAR * max(1.0, float(np.abs(scores).max())))
    kept, affine = batch.kept_channels(masks), batch.affine_maps()
    for row in range(scores.shape[1]):
        own = {site: channels for site, channels in kept[row].items() if len(channels)}
        if len(own) == len(kept[row]):
            module = ClassModule(label=str(row), row=row, kept=own, affine=affine[row])
            for cut in (masked, sliced):
                alone = Session(cut(network, batch.sites, module)).run(x)[:, 0]
                np.testing.assert_allclose(scores[:, row], alone, atol=NEAR * max(1.0, float(np.abs(alone).max())))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(network=recurrent(), seed=st.integers(0, 1000))
def test_masks_act_inside_recurrent_cells(network: Network, seed: int) -> None:
    assume(maskable_sites(network))
    check_each_alone(network, seed=seed)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(network=st.one_of(convolutional(), transformers(), tangled()), seed=st.integers(0, 1000))
def test_masks_act_wherever_channels_go(network: Network, seed: int) -> None:
    assume(maskable_sites(network))
    check_each_alone(network, seed=seed)


@functools.cache
def network_of(family: str) -> Network:
    return load(exported(family, dynamo=False, opset=17))


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_act_in_every_family_of_architectures(family: str) -> None:
    check_each_alone(network_of(family), seed=1)


@pytest.mark.parametrize("family", ["two bidirectional LSTMs", "GRU", "RNN"])
def test_the_gradient_of_a_mask_is_what_a_small_change_of_it_does(family: str) -> None:
    network = network_of(family)
    batch, masks = module_batch(network, seed=3)
    batch, masks = batch.double(), masks.double()
    x = torch.from_numpy(inputs_for(network, batch=2))
    gates = masks.unsqueeze(1).expand(-1, len(x), -1).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(batch(x, gates).sum(), gates)
    random = np.random.default_rng(0)
    for module, sample, column in random.integers(0, gradient.shape, (40, 3)).tolist():
        change = torch.zeros_like(gates)
        change[module, sample, column] = 1e-5
        with torch.no_grad():
            difference = (batch(x, gates + change) - batch(x, gates - change)).sum() / 2e-5
        assert float(gradient[module, sample, column]) == pytest.approx(float(difference), abs=1e-6)


@pytest.mark.parametrize("op", GATES)
def test_an_initial_state_is_read_through_the_gates_too(op: str) -> None:
    gates = GATES[op] * 6
    graph = f"""(float[N, 4, 3] x) => (float[N, 5] y) {{
        steps = Transpose<perm = [1, 0, 2]>(x)
        mean = ReduceMean<keepdims = 0>(x, one)
        first = Gemm<transB = 1>(mean, w, b)
        start = Unsqueeze(first, zero)
        states, last = {op}<hidden_size = 6>(steps, input, recurrence, bias, , start)
        flat = Squeeze(last, zero)
        y = Gemm<transB = 1>(flat, v, c)
    }}"""
    network = load(
        onnx_bytes(
            graph,
            input=floats(1, gates, 3),
            recurrence=floats(1, gates, 6),
            bias=floats(1, 2 * gates),
            w=floats(6, 3),
            b=floats(6),
            v=floats(5, 6),
            c=floats(5),
            one=ints(1),
            zero=ints(0),
        )
    )
    assert [site.size for site in maskable_sites(network)] == [6]
    check_each_alone(network, seed=4)


def test_each_module_may_have_samples_of_its_own() -> None:
    network = network_of("two bidirectional LSTMs")
    batch, masks = module_batch(network, seed=5)
    x = torch.from_numpy(inputs_for(network, batch=8))
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 8, (batch.modules_count, 3)))
    with torch.no_grad():
        everything, some = batch(x, masks), batch(x[rows.reshape(-1)], masks, batch=3)
    torch.testing.assert_close(some, everything.gather(0, rows.T))


def test_where_no_masked_layer_has_a_scale_the_classifier_has_one() -> None:
    batch, _ = module_batch(network_of("LSTM"), seed=0)
    assert batch.layers == (batch.network.nodes[-1].inputs[1],)
    images, _ = module_batch(network_of("plain CNN"), seed=0)
    assert images.network.nodes[-1].inputs[1] not in images.layers


def test_masks_on_what_holds_no_samples_are_refused() -> None:
    network = network_of("perceptron")
    batch, _ = module_batch(network, seed=0)
    reader = dataclasses.replace(batch.sites.readers[-1], operand=1)
    sites = dataclasses.replace(batch.sites, readers=(*batch.sites.readers[:-1], reader))
    with pytest.raises(DecomposeError, match="which holds no samples"):
        ModuleBatch(batch.net, network=network, sites=sites, cut="", rows=(0,), maskable=batch.maskable)
