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
from modhub.decomposers.moda.effect import channel_weights, effect
from modhub.decomposers.moda.metrics import (
    composed_size,
    jaccard,
    module_overlap,
    module_size,
    summary,
    weights_of,
)
from modhub.decomposers.moda.repair import Repair
from modhub.decomposers.options import Options
from modhub.engines.export import from_torch
from modhub.engines.runtime import Session
from modhub.engines.torch_engine import to_torch
from modhub.errors import UsageError
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from tests.support.networks import Builder
from tests.support.torch_models import FAMILIES, exported, torch_inputs, torch_model
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
    split = moda(network, data, data, options=Options(cut="none", max_loss=100, keep=0.2, align=1))
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
    cut = {site for module in split.modules for site in module.kept if len(module.kept[site]) < split.sites[site].size}
    assert cut == set(MASKED[family].values())


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
def test_what_a_channel_does_to_a_score_does_not_depend_on_the_resolution(op: str) -> None:
    data = images(24)
    # Every pixel becomes nine, and no kernel sees a neighbour: the same activations at the same shares of positions.
    large = Dataset.of(data.x.repeat(3, axis=2).repeat(3, axis=3), y=data.y, classes=CLASSES)
    found, effects = [], []
    for side, own in ((8, data), (24, large)):
        network = activated(op, side, kernel=1)
        x, sites = torch.from_numpy(own.x), find_sites(network)
        found.append(activity(network, sites, cut="", features=x, columns=own.labels, classes=3))
        effects.append(effect(network, sites, cut="", features=x, rows=(0, 1, 2)))
    small, fine = found
    np.testing.assert_allclose(effects[0], effects[1], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(small.strength, fine.strength, rtol=1e-4)
    if op != "Relu":
        assert (small.frequency[:, small.seen] == 1).all()


def test_effect_is_the_variance_of_what_a_score_loses_with_a_channel() -> None:
    net, network, data = plain(), plain_network(), images(24)
    sites = find_sites(network)
    x = torch.from_numpy(data.x)
    found = effect(network, sites, cut="", features=x, rows=(2, 0))
    with torch.no_grad():
        # Behind the hidden layer the score is linear, so that first order is all there is.
        hidden = torch.relu(
            net.hidden(
                nn.functional.avg_pool2d(
                    torch.relu(net.norm(net.second(nn.functional.max_pool2d(torch.relu(net.first(x)), 2)))), 2
                ).flatten(1)
            )
        )
        lost = hidden * net.out.weight[[2, 0]][:, None]
    first = sites.offsets[sites.sites[2].id]
    own, expected = found[:, first : first + 10], lost.var(dim=1, correction=0).numpy()
    np.testing.assert_allclose(own * expected.sum(1, keepdims=True), expected * own.sum(1, keepdims=True), atol=1e-4)
    moving = np.where(found > 0, found, np.nan)
    np.testing.assert_allclose(np.nanmean(moving, axis=1), 1)


def test_the_weights_of_a_channel_are_those_that_make_it_and_those_that_read_it() -> None:
    builder = Builder(shape=(3, 4, 4), seed=0)
    hidden = builder.relu(builder.conv(builder.input, 4))
    network = builder.build(builder.gemm(builder.flatten(hidden), 2))
    sites = find_sites(network)
    first = sites.offsets[sites.sites[0].id]
    np.testing.assert_array_equal(channel_weights(network, sites)[first : first + 4], [27 + 1 + 16 * 2] * 4)


def halved(network: Network, *, row: int = 0) -> ClassModule:
    """Return a module that keeps every other channel of each site."""
    sites = find_sites(network)
    kept = sites.settle({site.id: np.arange(0, site.size, 2) for site in sites.sites if not site.pinned})
    return ClassModule(label="a", row=row, kept=kept)


@pytest.mark.parametrize("op", ["Relu", "Gelu", "Sigmoid"])
def test_a_repaired_module_has_its_parents_means_and_variances(op: str) -> None:
    network, x = activated(op, 8), torch.from_numpy(images(24).x)
    sites, bare = find_sites(network), halved(network)
    affine = Repair.of(network, sites, cut="", features=x).of_module(bare)
    names = {node.inputs[1]: node.outputs[0] for node in network.nodes if node.op == "Conv"}
    assert set(affine) == set(names)
    assert any(np.ptp(own.scale) > 0.1 for own in affine.values())
    module = dataclasses.replace(bare, affine=affine)
    whole, own = (
        to_torch(made).evaluate({network.input.name: x}, wanted=[*names.values()])
        for made in (network, sliced(network, sites, module))
    )
    for site in sites.sites[:2]:
        value = names[site.id]
        expected, found = whole[value][:, bare.kept[site.id]], own[value]
        torch.testing.assert_close(found.mean(dim=(0, 2, 3)), expected.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.var(dim=(0, 2, 3)), expected.var(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_what_keeps_everything_needs_no_repair() -> None:
    network, x = plain_network(), torch.from_numpy(images(24).x)
    affine = Repair.of(network, find_sites(network), cut="", features=x).of_module(ClassModule(label="a", row=0))
    assert affine
    for own in affine.values():
        np.testing.assert_allclose(own.scale, 1, atol=1e-4)
        np.testing.assert_allclose(own.offset, 0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_repaired_module_of_any_architecture_is_the_whole_model_masked(family: str) -> None:
    network, x = load(exported(family, dynamo=False, opset=17)), torch_inputs(family, batch=12, seed=3)
    sites, bare = find_sites(network), halved(network, row=1)
    module = dataclasses.replace(bare, affine=Repair.of(network, sites, cut="", features=x).of_module(bare))
    small, oracle = (Session(made(network, sites, module)).run(x.numpy()) for made in (sliced, masked))
    np.testing.assert_allclose(small, oracle, atol=1e-5 * max(1.0, float(np.abs(oracle).max())))
    moved = effect(network, sites, cut="", features=x, rows=(0, 1))
    assert np.isfinite(moved).all()
    assert (moved > 0).any()


def test_modules_that_lose_too_much_are_repaired_and_travel() -> None:
    network = activated("Gelu", 12)
    train, held_out = images(60, side=12), images(60, seed=1, side=12)
    # An untrained parent answers one class; calibrated, its modules do better, and here they must gain 60 points.
    options = Options(cut="none", max_loss=-60, keep=0.2, align=1)
    split, again = (moda(network, train, held_out, options=options) for _ in range(2))
    assert split.method.parameters["repaired"]
    assert any(step["repaired"] for step in split.history)
    assert [dict(step) for step in split.history] == [dict(step) for step in again.history]
    x = images(12, seed=4, side=12).x
    together = Session(compose(parts_of(split)).network).run(x)
    for column, (module, same) in enumerate(zip(split.modules, again.modules, strict=True)):
        assert module.affine
        for layer, own in module.affine.items():
            np.testing.assert_array_equal(own.scale, same.affine[layer].scale)
            np.testing.assert_array_equal(own.offset, same.affine[layer].offset)
        expected = [Session(made(network, split.sites, module)).run(x)[:, 0] for made in (sliced, masked)]
        np.testing.assert_allclose(expected[0], expected[1], atol=1e-5)
        np.testing.assert_allclose(together[:, column], expected[0], atol=1e-5)


def test_the_search_closes_in_between_what_is_enough_and_what_is_not() -> None:
    options = Options(cut="none", max_loss=10, keep=0.1, align=1)
    split = moda(plain_network(), images(), images(60, seed=1), options=options)
    kept = [step["kept"] for step in split.history]
    assert kept == sorted(kept, reverse=True)
    parent = split.parent_metrics["accuracy"].value
    enough = [step["kept"] for step in split.history if step["accuracy"] >= parent - 0.1]
    chosen = np.mean([np.sum([len(own) for own in module.kept.values()]) for module in split.modules]) / 30
    assert chosen == pytest.approx(min(enough))


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
    assert list(dict.fromkeys(steps["fast"])) == ["trunk", "parent", "effect"]


def test_there_are_two_recipes_and_ours_ties_no_channels() -> None:
    network = plain_network()
    with pytest.raises(UsageError, match="no recipe 'slow'"):
        moda(network, images(), images(), options=Options(recipe="slow"))
    with pytest.raises(UsageError, match="moda cannot tie channels"):
        moda(network, images(), images(), options=Options(tied=True))
