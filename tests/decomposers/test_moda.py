"""MODA's extraction: what is kept, that what is cut out is what was masked, and what it is worth."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from modhub import flow
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
from modhub.decomposers.moda.sites import BOUNDED, CONVOLUTIONS, NON_NEGATIVE
from modhub.decomposers.options import Options
from modhub.engines.export import from_torch
from modhub.engines.runtime import Session
from modhub.errors import UsageError
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.package.pack import Release
from tests.support.networks import Builder
from tests.support.torch_models import exported, torch_inputs, torch_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modhub.network.modules import Channels
    from modhub.network.network import Network
    from modhub.network.sites import Sites

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


class Masking(TorchFunctionMode):
    """Multiplies the outputs of rectifiers and of convolutions by masks, each in the order in which they run."""

    def __init__(self, rectifiers: list[torch.Tensor], convolutions: list[torch.Tensor]) -> None:
        super().__init__()
        self.rectifiers, self.convolutions, self.last = iter(rectifiers), iter(convolutions), torch.ones(1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in NON_NEGATIVE | BOUNDED:
            return masked_by(next(self.rectifiers), result)
        if func in CONVOLUTIONS:
            self.last = next(self.convolutions)
        # Batch-norm has an offset, so what it gives is masked again.
        return masked_by(self.last, result) if func in CONVOLUTIONS | {nn.functional.batch_norm} else result


def masked_by(mask: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return value * mask.reshape(-1, *[1] * (value.ndim - 2))


def masking(network: Network, sites: Sites, kept: Mapping[str, Channels]) -> Masking:
    """Return the masks of what a graph's layers read: behind a rectifier, or of a convolution that is only added."""
    flags = torch.from_numpy(sites.flags(sites.settle(kept))).float()
    makers = {node.outputs[0]: node for node in network.nodes}
    reads = {makers[reader.node].inputs[reader.operand]: reader.channels for reader in sites.readers}
    rectifiers, convolutions = [], []
    for node in network.nodes:
        value = node.outputs[0]
        if node.op == "Conv":
            convolutions.append(flags[reads[value]] if value in reads else torch.ones(1))
        elif node.op in ("Relu", "Clip"):
            while value not in reads:
                value = next(other.outputs[0] for other in network.nodes if value in other.inputs)
            rectifiers.append(flags[reads[value]])
    return Masking(rectifiers, convolutions)


@pytest.mark.parametrize("family", ["ResNet", "MobileNetV2"])
def test_a_module_of_a_network_with_shortcuts_is_that_too(family: str) -> None:
    net = torch_model(family)
    network = load(exported(family, dynamo=False, opset=13))
    x, y = torch_inputs(family, batch=40, seed=3), np.arange(40) % 5
    data = Dataset.of(x.numpy(), y=y)
    split = moda(network, data, data, options=Options(cut="none", max_loss=100, keep=0.5, align=1))
    for module in split.modules:
        with torch.no_grad(), masking(network, split.sites, module.kept):
            oracle = net(x)[:, module.row].numpy()
        bare = ClassModule(label=module.label, row=module.row, kept=module.kept)
        found = Session(sliced(network, split.sites, bare)).run(x.numpy())[:, 0]
        np.testing.assert_allclose(found, oracle, atol=1e-5)
    assert any(len(kept) < split.sites[site].size for module in split.modules for site, kept in module.kept.items())


def test_spread_and_strength_do_not_depend_on_the_resolution() -> None:
    network, fine = activated("Sigmoid", 8), activated("Sigmoid", 24)
    data = images(24)
    large = Dataset.of(data.x.repeat(3, axis=2).repeat(3, axis=3), y=data.y, classes=CLASSES)
    found = [
        activity(own, find_sites(own), cut="", features=torch.from_numpy(some.x), columns=some.labels, classes=3)
        for own, some in ((network, data), (fine, large))
    ]
    assert (found[0].frequency[:, found[0].seen] == 1).all()
    assert found[0].spread.max() <= 1
    assert np.abs(found[0].spread - found[1].spread).max() < 0.25
    assert np.abs(found[0].strength - found[1].strength).max() < 0.25


def test_modules_merge_into_one_network(tmp_path: Path) -> None:
    network = plain_network()
    options = Options(cut="none", max_loss=100, keep=0.4, align=1)
    split = moda(network, images(), images(30, seed=1), options=options)
    release = Release(created="2026-01-01T00:00:00Z", parent_name="plain")
    flow.write_collection(flow.pack(split, release), tmp_path / "split")
    parts, _ = flow.gather([str(tmp_path / "split/a"), str(tmp_path / "split/c")])
    found = flow.compose(parts, strategy="union")
    kept = {
        site: np.union1d(split.modules[0].kept[site], split.modules[2].kept[site]) for site in split.modules[0].kept
    }
    x = images(12, seed=4).x
    for column, module in enumerate((split.modules[0], split.modules[2])):
        merged = sliced(network, split.sites, dataclasses.replace(module, kept=kept))
        np.testing.assert_allclose(Session(found.network).run(x)[:, column], Session(merged).run(x)[:, 0], atol=1e-5)


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
