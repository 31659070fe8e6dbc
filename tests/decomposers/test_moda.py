"""MODA's extraction: what is kept, that what is cut out is what was masked, and what it is worth."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from modhub.datasets import Dataset
from modhub.decomposers.moda import moda
from modhub.decomposers.moda.activity import activity
from modhub.decomposers.moda.metrics import (
    composed_size,
    jaccard,
    module_overlap,
    module_size,
    summary,
    weights_of,
)
from modhub.decomposers.options import Options
from modhub.engines.export import from_torch
from modhub.engines.runtime import Session
from modhub.errors import UsageError
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from tests.support.networks import Builder

if TYPE_CHECKING:
    from modhub.network.network import Network

CLASSES = ("a", "b", "c")


class Plain(nn.Module):
    """Convolutions, pooling and a hidden fully connected layer, as MODA's VGG."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.hidden, self.out = nn.Linear(12 * 4, 10), nn.Linear(10, 3)
        self.masks: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self._masked(torch.relu(self.first(x)), 0)
        y = nn.functional.max_pool2d(y, 2)
        y = self._masked(torch.relu(self.norm(self.second(y))), 1)
        y = nn.functional.avg_pool2d(y, 2).flatten(1)
        return torch.as_tensor(self.out(self._masked(torch.relu(self.hidden(y)), 2)))

    def _masked(self, value: torch.Tensor, number: int) -> torch.Tensor:
        return value * self.masks[number].reshape(-1, *[1] * (value.ndim - 2)) if self.masks else value


def plain(seed: int = 0) -> Plain:
    torch.manual_seed(seed)
    net = Plain().eval()
    net.norm.running_mean = torch.rand(12) - 0.5
    net.norm.running_var = 0.5 + torch.rand(12)
    return net


@functools.cache
def plain_network(seed: int = 0) -> Network:
    return load(from_torch(plain(seed), torch.zeros(2, 3, 8, 8)))


def activated(op: str, side: int) -> Network:
    """Return two convolutions with an activation behind each; SiLU is spelled with a sigmoid, as in ONNX."""
    builder = Builder(shape=(3, side, side), seed=0)
    value = builder.input
    for channels in (16, 32):
        value = builder.conv(value, channels)
        found = builder.apply(op, value)
        value = builder.apply("Mul", value, found) if op == "Sigmoid" else found
    return builder.build(builder.gemm(builder.flatten(builder.global_pool(value)), 3))


def images(count: int = 60, seed: int = 0, side: int = 8) -> Dataset:
    random = np.random.default_rng(seed)
    y = np.arange(count) % len(CLASSES)
    # Each class is bright in its own colour.
    x = random.random((count, 3, side, side), dtype=np.float32) * 0.3
    x[np.arange(count), y] += 0.7
    return Dataset.of(x, y=y, classes=CLASSES)


@pytest.mark.parametrize("recipe", ["paper", "fast"])
def test_a_module_is_the_whole_model_with_every_site_masked(recipe: str) -> None:
    net = plain()
    network = plain_network()
    options = Options(recipe=recipe, cut="none", max_loss=100, keep=0.4, align=1)
    split = moda(network, images(), images(30, seed=1), options=options)
    x = images(10, seed=2).x
    for module in split.modules:
        net.masks = []
        for site in split.sites.sites[:3]:
            mask = torch.zeros(site.size)
            mask[torch.from_numpy(np.asarray(module.kept.get(site.id, np.arange(site.size))))] = 1
            net.masks.append(mask)
        with torch.no_grad():
            oracle = net(torch.from_numpy(x))[:, module.row].numpy()
        bare = ClassModule(label=module.label, row=module.row, kept=module.kept)
        for made in (sliced, masked):
            found = Session(made(network, split.sites, bare)).run(x)[:, 0]
            np.testing.assert_allclose(found, oracle, atol=1e-5)
    assert any(len(kept) < split.sites[site].size for module in split.modules for site, kept in module.kept.items())


def test_frequency_is_the_share_of_samples_for_which_a_channel_fires_anywhere() -> None:
    net = plain()
    network = plain_network()
    data = images(24)
    sites = find_sites(network)
    found = activity(
        network, sites, cut="", features=torch.from_numpy(data.x), columns=data.labels, classes=3, device="cpu"
    )
    with torch.no_grad():
        fired = torch.relu(net.first(torch.from_numpy(data.x))).amax(dim=(2, 3)).numpy() > 0
    for label in range(3):
        expected = fired[data.labels == label].mean(axis=0)
        np.testing.assert_allclose(found.frequency[label, :8], expected)


def test_the_order_of_classes_does_not_matter() -> None:
    network = plain_network(3)
    options = {"recipe": "paper", "cut": "none"}
    one = moda(network, images(), images(30), options=Options(classes=(0, 1, 2), **options))  # type: ignore[arg-type]
    other = moda(network, images(), images(30), options=Options(classes=(2, 0, 1), **options))  # type: ignore[arg-type]
    rows = {module.row: module for module in other.modules}
    for module in one.modules:
        for site, kept in module.kept.items():
            assert np.array_equal(kept, rows[module.row].kept[site])


def test_unlabelled_data_is_taken_as_the_parent_sees_it() -> None:
    network = plain_network()
    data = images()
    said = Session(network).run(data.x).argmax(axis=1)
    options = Options(cut="none", max_loss=100, keep=0.5)
    bare = Dataset.of(data.x, classes=CLASSES)
    same = Dataset.of(data.x, y=said, classes=CLASSES)
    found = [moda(network, own, images(30), options=options) for own in (bare, same)]
    for one, other in zip(found[0].modules, found[1].modules, strict=True):
        assert all(np.array_equal(one.kept[site], other.kept[site]) for site in one.kept)


@pytest.mark.parametrize("op", ["Relu", "Gelu", "Sigmoid"])
def test_at_high_resolution_the_papers_rule_keeps_all_and_ours_does_not(op: str) -> None:
    network = activated(op, 48)
    train, held_out = images(30, side=48), images(15, seed=1, side=48)
    kept = {}
    for recipe in ("paper", "fast"):
        options = Options(recipe=recipe, cut="none", max_loss=100, keep=0.3, align=1)
        kept[recipe] = summary(moda(network, train, held_out, options=options))["size"]
    assert kept["fast"] < 0.5
    # Only a ReLU that is dead everywhere lets the paper's rule drop anything.
    assert kept["paper"] > (0.6 if op == "Relu" else 0.95)


def test_sizes_and_overlaps_are_counted_weight_by_weight() -> None:
    builder = Builder(shape=(3, 4, 4), seed=0)
    hidden = builder.relu(builder.conv(builder.input, 4))
    network = builder.build(builder.gemm(builder.flatten(hidden), 2))
    sites = find_sites(network)
    name = sites.sites[0].id
    one = ClassModule(label="a", row=0, kept={name: np.array([0, 1])})
    other = ClassModule(label="b", row=1, kept={name: np.array([1, 2, 3])})
    # 3x3 kernels over 3 colours with a bias; then 16 positions a channel, and a row and a bias of its own.
    kernel, columns = 28, 16
    total = 4 * kernel + 2 * (4 * columns + 1)
    assert weights_of(network) == total
    assert module_size(network, sites, one) == pytest.approx((2 * kernel + 2 * columns + 1) / total)
    assert module_overlap(network, sites, one, other) == pytest.approx(kernel / total)
    union = 2 * kernel + 2 * columns + 1 + 3 * kernel + 3 * columns + 1 - kernel
    assert jaccard(network, sites, one, other) == pytest.approx(kernel / union)
    assert composed_size(network, sites, (one, other)) == 1.0
    assert sliced(network, sites, one).parameters == pytest.approx(2 * kernel + 2 * columns + 1)


def test_there_are_two_recipes() -> None:
    network = plain_network()
    with pytest.raises(UsageError, match="no recipe 'slow'"):
        moda(network, images(), images(), options=Options(recipe="slow"))
