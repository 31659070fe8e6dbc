"""Widths in multiples, all the way into the packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modhub.datasets import load_dataset
from modhub.decomposers import find_decomposer
from modhub.decomposers.alignment import aligned_masks
from modhub.decomposers.module_batch import ModuleBatch
from modhub.decomposers.options import Options, silent
from modhub.engines.torch_engine import to_torch
from modhub.network.load import load
from modhub.network.sites import find_sites
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from tests.support.architectures import convolutional, recurrent, tangled, transformers
from tests.support.networks import Builder, networks

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.network import Network


def module_batch(network: Network, *, seed: int = 0) -> ModuleBatch:
    sites = find_sites(network)
    maskable = tuple(site for site in sites.after(network, "") if site.layers)
    batch = ModuleBatch(to_torch(network), network=network, sites=sites, cut="", rows=(0, 1), maskable=maskable)
    batch.latents.copy_(torch.rand(batch.latents.shape, generator=torch.Generator().manual_seed(seed)))
    return batch


def residual() -> Network:
    """A residual network: a stream of 32 channels and two branches of their own widths."""
    builder = Builder(shape=(3, 6, 6))
    stream = builder.relu(builder.conv(builder.input, 32))
    for width in (24, 16):
        branch = builder.conv(builder.relu(builder.conv(stream, width)), 32)
        stream = builder.relu(builder.add(branch, stream))
    return builder.build(builder.gemm(builder.flatten(builder.global_pool(stream)), 3))


@pytest.mark.parametrize("multiple", [4, 8])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_branches_too_have_widths_in_multiples(multiple: int, share: float) -> None:
    batch = module_batch(residual())
    kept = batch.kept_channels(aligned_masks(batch.masks(batch.count(share)), batch, multiple=multiple))
    for own in kept:
        settled = batch.sites.settle(own)
        for site in batch.maskable:
            width = len(settled[site.id])
            assert width % multiple == 0
            assert width == len(own[site.id])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    network=st.one_of(networks(), convolutional(), transformers(), recurrent(), tangled()),
    seed=st.integers(0, 1000),
    multiple=st.integers(1, 4),
)
def test_every_site_keeps_a_multiple_or_all_it_has(network: Network, seed: int, multiple: int) -> None:
    sites = find_sites(network)
    assume(any(site.layers for site in sites.after(network, "")))
    batch = module_batch(network, seed=seed)
    streams = {channel for branch in sites.branches for channel in branch.channels.tolist()}
    for own in batch.kept_channels(aligned_masks(batch.masks(batch.count(0.5)), batch, multiple=multiple)):
        for site in batch.maskable:
            width, first = len(own[site.id]), sites.offsets[site.id]
            assert width > 0
            if streams.isdisjoint(range(first, first + site.size)):
                assert width % multiple == 0 or width == site.size


def test_multiples_of_one_change_nothing_where_everything_lands() -> None:
    batch = module_batch(residual(), seed=3)
    masks = batch.masks(batch.width)
    assert torch.equal(aligned_masks(masks, batch, multiple=1), masks)


@pytest.mark.parametrize("method", ["saliency", "gradsplitter"])
def test_packed_modules_have_widths_in_multiples(method: str, data_folder: Path) -> None:
    network = load(data_folder / "mnist-mlp1-panrajan.onnx")
    train, validation = load_dataset(data_folder / "mnist-test-200.npz").split(0.5, seed=0)
    options = Options(keep=0.4, max_loss=100, steps=3, align=16, classes=(0, 1))
    split = find_decomposer(method)(network, train, validation, options=options, progress=silent)
    base, *modules = pack(split, Release())
    for package in modules:
        widths = {array.shape[0] for name, array in network_of(package, base).weights() if array.ndim == 2}
        assert widths - {1} == {16}
