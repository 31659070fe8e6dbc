"""MODA's extraction: what is kept, that what is cut out is what was masked, and what it is worth."""

from __future__ import annotations

import dataclasses
import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from modhub.composer.compose import compose
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
from tests.support.torch_models import torch_inputs, torch_model
from tests.support.weight_masks import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


def activated(op: str, side: int, *, kernel: int = 3) -> Network:
    """Return two convolutions with an activation behind each; SiLU is spelled with a sigmoid, as in ONNX."""
    builder = Builder(shape=(3, side, side), seed=0)
    value = builder.input
    for channels in (16, 32):
        value = builder.conv(value, channels, kernel=kernel)
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


MASKED: Mapping[str, Mapping[str, str]] = {
    "ResNet": {
        "1": "0.weight",
        "2.first_norm": "2.first.weight",
        "2.second_norm": "2.second.weight",
        "2": "0.weight",
        "3.project": "3.project.weight",
        "3.first_norm": "3.first.weight",
        "3.second_norm": "3.second.weight",
        "3": "3.project.weight",
    },
    "MobileNetV2": {
        "1": "0.weight",
        **{f"{block}.layers.{layer}": f"{block}.layers.0.weight" for block in "23" for layer in (2, 5)},
        **{f"{block}.layers.7": f"{block}.layers.6.weight" for block in "23"},
        **dict.fromkeys("23", "0.weight"),
    },
}
"""The site that each part's output belongs to, wherever channels become final: behind batch-norm and activation, also
behind those of a depthwise convolution, whose offset is not zero; a branch before and the stream behind an addition.
A rectifier that follows directly keeps zeros."""


@contextmanager
def masking(net: nn.Module, masks: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Multiply the outputs of a network's parts by masks, ``[channels]``, by the names of the parts."""

    def hook(mask: torch.Tensor) -> Callable[[nn.Module, object, torch.Tensor], torch.Tensor]:
        return lambda _, __, value: value * mask.reshape(-1, *[1] * (value.ndim - 2))

    handles = [net.get_submodule(name).register_forward_hook(hook(mask)) for name, mask in masks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", MASKED)
def test_a_module_of_a_network_with_shortcuts_is_that_too(family: str) -> None:
    net = torch_model(family)
    network = load(from_torch(net, torch_inputs(family)))
    x, y = torch_inputs(family, batch=40, seed=3), np.arange(40) % 5
    data = Dataset.of(x.numpy(), y=y)
    split = moda(network, data, data, options=Options(cut="none", max_loss=100, keep=0.5, align=1))
    assert {site.id for site in split.sites.sites if not site.pinned} == set(MASKED[family].values())
    for module in split.modules:
        masks = {}
        for part, site in MASKED[family].items():
            masks[part] = torch.zeros(split.sites[site].size)
            masks[part][torch.from_numpy(module.kept[site])] = 1
        with torch.no_grad(), masking(net, masks):
            oracle = net(x)[:, module.row].numpy()
        bare = ClassModule(label=module.label, row=module.row, kept=module.kept)
        for made in (sliced, masked):
            found = Session(made(network, split.sites, bare)).run(x.numpy())[:, 0]
            np.testing.assert_allclose(found, oracle, atol=1e-5)
    assert all(len(module.kept[site]) < split.sites[site].size for module in split.modules for site in module.kept)


def test_modules_merge_into_one_network() -> None:
    network = plain_network()
    split = moda(network, images(), images(30, seed=1), options=Options(cut="none", max_loss=100, keep=0.4, align=1))
    first, _, last = split.modules
    parts = parts_of(split)
    union = compose([parts[0], parts[2]], strategy="union")
    kept = {site: np.union1d(first.kept[site], last.kept[site]) for site in first.kept}
    assert any(len(own) < split.sites[site].size for site, own in kept.items())
    x = images(12, seed=4).x
    for column, module in enumerate((first, last)):
        merged = sliced(network, split.sites, dataclasses.replace(module, kept=kept))
        expected = Session(merged).run(x)[:, 0]
        np.testing.assert_allclose(Session(union.network).run(x)[:, column], expected, atol=1e-5)


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


@pytest.mark.parametrize("op", ["Relu", "Gelu", "Sigmoid"])
def test_our_rules_do_not_depend_on_the_resolution(op: str) -> None:
    data = images(24)
    # Every pixel becomes nine, and no kernel sees a neighbour: the same activations at the same shares of positions.
    large = Dataset.of(data.x.repeat(3, axis=2).repeat(3, axis=3), y=data.y, classes=CLASSES)
    found = []
    for side, own in ((8, data), (24, large)):
        network = activated(op, side, kernel=1)
        x, sites = torch.from_numpy(own.x), find_sites(network)
        found.append(activity(network, sites, cut="", features=x, columns=own.labels, classes=3))
    small, fine = found
    np.testing.assert_allclose(small.spread, fine.spread, atol=1e-6)
    np.testing.assert_allclose(small.strength, fine.strength, rtol=1e-4)
    if op != "Relu":
        assert (small.frequency[:, small.seen] == 1).all()
        assert small.spread[:, small.seen].min() < 0.5


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


def test_every_level_is_told_with_its_rule() -> None:
    steps = {}
    for recipe in ("paper", "fast"):
        events: list[Mapping[str, object]] = []
        options = Options(recipe=recipe, cut="none", max_loss=100, keep=0.6)
        split = moda(plain_network(), images(), images(30), options=options, progress=events.append)
        steps[recipe] = [event["step"] for event in events]
        assert {step["step"] for step in split.history} == set(steps[recipe][2:])
    assert steps["paper"] == ["trunk", "parent", "frequency"]
    assert list(dict.fromkeys(steps["fast"])) == ["trunk", "parent", "strength", "spread"]


def test_there_are_two_recipes() -> None:
    network = plain_network()
    with pytest.raises(UsageError, match="no recipe 'slow'"):
        moda(network, images(), images(), options=Options(recipe="slow"))
