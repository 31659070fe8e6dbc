"""One-shot masks: no training, and the mean of what is gone stands in for it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub.datasets import load_dataset
from modhub.decomposers.options import Options
from modhub.decomposers.saliency import mean_offsets, reader_means, saliency
from modhub.engines.runtime import Session
from modhub.engines.torch_engine import to_torch
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import sliced
from tests.support.networks import Builder

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.network.network import Network


@pytest.fixture(scope="module")
def mnist(data_folder: Path) -> tuple[Network, Dataset]:
    return load(data_folder / "mnist-mlp1-panrajan.onnx"), load_dataset(data_folder / "mnist-test-200.npz")


def test_it_keeps_as_little_as_the_allowed_loss_permits(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    strict, lax = (
        saliency(network, train, validation, options=Options(max_loss=loss, keep=0.2, align=1)) for loss in (1.0, 15.0)
    )
    kept = [np.mean([len(next(iter(m.kept.values()), range(49))) for m in split.modules]) for split in (strict, lax)]
    assert kept[1] < kept[0] <= 49
    parent = strict.parent_metrics["accuracy"].value
    assert strict.history[0]["accuracy"] >= parent - 0.05


def test_a_constant_channel_can_go_without_a_trace() -> None:
    builder = Builder(shape=(6,))
    hidden = builder.gemm(builder.input, 4)
    network = builder.build(builder.gemm(builder.gemm(hidden, 5), 3))
    first = network.nodes[0].inputs[1]
    arrays = dict(network.arrays)
    arrays[first] = arrays[first].copy()
    arrays[first][2] = 0.0
    network = network.replace(arrays=arrays)
    sites = find_sites(network)
    x = np.random.default_rng(0).random((50, 6), dtype=np.float32)
    means = reader_means(to_torch(network), network, sites, cut=network.input.name, x=torch.from_numpy(x))
    kept = {sites.sites[0].id: np.array([0, 1, 3])}
    affine = mean_offsets(network, sites, kept, means)
    without = sliced(network, sites, ClassModule(label="c", row=1, kept=kept, affine=affine))
    np.testing.assert_allclose(Session(without).run(x)[:, 0], Session(network).run(x)[:, 1], atol=1e-5)


def test_data_without_labels_gives_the_same_masks(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    options = Options(max_loss=5.0)
    labelled = saliency(network, train, validation, options=options)
    bare = saliency(network, dataclasses.replace(train, y=None), validation, options=options)
    for one, other in zip(labelled.modules, bare.modules, strict=True):
        assert all(np.array_equal(one.kept[site], other.kept[site]) for site in one.kept)
