"""Modules cut out score, and learn, as they do masked in one batch with all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample
from modhub.decomposers.alignment import aligned_masks
from modhub.decomposers.cutouts import Cutouts
from modhub.decomposers.gradsplitter.distillation import Recipe
from modhub.decomposers.gradsplitter.fast import Trainer
from modhub.decomposers.options import Options, silent
from modhub.network.load import load
from tests.support.batches import batch_of, maskable_sites
from tests.support.networks import inputs_for, networks, perceptrons

if TYPE_CHECKING:
    from modhub.network.network import Network


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(network=st.one_of(networks(), perceptrons()), seed=st.integers(0, 1000), share=st.sampled_from([0.3, 0.6, 1.0]))
def test_cut_out_modules_score_what_masked_ones_do_and_learn_the_same(
    network: Network, seed: int, share: float
) -> None:
    assume(maskable_sites(network))
    batch = batch_of(network, seed=seed)
    masks = batch.masks(batch.count(share))
    x = torch.from_numpy(inputs_for(network, seed=seed))
    learned = [*batch.scales, *batch.offsets]
    folded, cut = batch(x, masks), Cutouts.of(batch, masks).scores(x)
    size = max(1.0, float(folded.detach().abs().max()))
    torch.testing.assert_close(cut, folded, rtol=1e-4, atol=1e-4 * size)
    weights = torch.randn(folded.shape, generator=torch.Generator().manual_seed(seed))
    ways = [torch.autograd.grad((scores * weights).sum(), learned, allow_unused=True) for scores in (folded, cut)]
    for one, other in zip(*ways, strict=True):
        expected = torch.zeros(1) if one is None else one
        found = torch.zeros_like(expected) if other is None else other
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("cut", ["relu_16", "relu_12"])
def test_settling_on_networks_cut_out_ends_where_masked_training_ends(cut: str) -> None:
    network = load(read_sample("cifar10-resnet20.onnx"))
    data = load_dataset("sample:cifar10-test").take(120)
    ends = []
    for way in (True, False):
        recipe = Recipe(steps=6, search_share=0.0, batch=32)
        trainer = Trainer.prepare(network, data, data, options=Options(cut=cut), recipe=recipe, progress=silent)
        trainer.__dict__["_is_worth_cutting_out"] = way
        trainer.batch.latents.copy_(torch.rand(trainer.batch.latents.shape, generator=torch.Generator().manual_seed(1)))
        ends.append(trainer.climb(1, 0.5, 0.5))
    one, other = ends
    assert torch.equal(one.masks, other.masks)
    assert one.accuracy == pytest.approx(other.accuracy, abs=0.02)
    for name, value in one.state.items():
        np.testing.assert_allclose(value, other.state[name], atol=2e-3, err_msg=name)


def test_modules_may_look_at_samples_of_their_own() -> None:
    network = load(read_sample("cifar10-resnet20.onnx"))
    data = load_dataset("sample:cifar10-test").take(20)
    trainer = Trainer.prepare(network, data, data, options=Options(cut="relu_16"), recipe=Recipe(), progress=silent)
    batch = trainer.batch
    batch.latents.copy_(torch.rand(batch.latents.shape, generator=torch.Generator().manual_seed(0)))
    masks = aligned_masks(batch.masks(batch.count(0.4)), batch, multiple=8)
    rows = torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(i))[:7] for i in range(10)])
    with torch.no_grad():
        cutouts = Cutouts.of(batch, masks)
        everything = cutouts.scores(trainer.train.x)
        own = cutouts.scores(trainer.train.x[rows])
        some = cutouts.scores(trainer.train.x[rows[3:5]], some=slice(3, 5))
    torch.testing.assert_close(own, everything.gather(0, rows.T), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some, own[:, 3:5])
