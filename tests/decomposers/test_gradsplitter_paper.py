"""GradSplitter as published: its step, its heads, its loss, its schedule, its choice."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modhub import flow
from modhub.composer.join import join
from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample
from modhub.decomposers.gradsplitter import gradsplitter
from modhub.decomposers.gradsplitter.paper import (
    Epoch,
    Heads,
    Learner,
    Schedule,
    best_of,
    hard_step,
    paper,
    paper_loss,
)
from modhub.decomposers.options import Options, silent
from modhub.decomposers.outcome import choose
from modhub.decomposers.plain_batch import never_empty
from modhub.decomposers.ties import tied_columns
from modhub.engines.runtime import Session
from modhub.errors import InvalidData
from modhub.network.load import load
from modhub.network.modules import MlpHead
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from tests.support.networks import Builder

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

SHORT = Schedule(first_epochs=3, first_rate=0.05, cycles=2, mask_epochs=12, head_epochs=2, rate=0.02, batch=20)


@pytest.fixture(scope="module")
def mnist(data_folder: Path) -> tuple[Network, Dataset]:
    return load(data_folder / "mnist-mlp1-panrajan.onnx"), load_dataset(data_folder / "mnist-test-200.npz")


@pytest.fixture(scope="module")
def split(mnist: tuple[Network, Dataset]) -> Decomposition:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    return paper(network, train, validation, options=Options(recipe="paper", max_loss=15.0), schedule=SHORT)


def test_the_authors_schedule_has_145_epochs() -> None:
    schedule = Schedule()
    assert schedule.epochs == 145
    phases = schedule.phases()
    assert [phase.epochs for phase in phases[:3]] == [5, 5, 2]
    assert [(phase.masks, phase.rate, phase.weight) for phase in phases[:3]] == [
        (False, 0.01, 0.0),
        (True, 0.001, 0.1),
        (False, 0.001, 0.0),
    ]


def test_the_step_is_hard_and_its_gradient_goes_through_clipped() -> None:
    latents = torch.tensor([-2.0, 0.0, 1e-6, 5.0], requires_grad=True)
    mask = hard_step(latents)
    assert mask.tolist() == [0.0, 0.0, 1.0, 1.0]
    (gradient,) = torch.autograd.grad((mask * torch.tensor([0.5, -7.0, 7.0, -0.5])).sum(), latents)
    assert gradient.tolist() == [0.5, -1.0, 1.0, -0.5]


def test_a_kernel_nobody_needs_goes_after_a_thousand_steps() -> None:
    # The specification computes 1005 steps of Adam from 1 to 0 for a weight of 0.1 over ten modules of 4224 kernels.
    latents = torch.nn.Parameter(torch.ones(10, 4224))
    optimiser = torch.optim.Adam([latents], lr=0.001)
    steps = 0
    while float(latents[0, 0].detach()) > 0:
        optimiser.zero_grad()
        (0.1 * hard_step(latents).mean()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        steps += 1
    assert abs(steps - 1005) <= 1


@pytest.mark.parametrize(("classes", "floor"), [(2, 0.313), (10, 1.461), (100, 3.622)])
def test_cross_entropy_over_sigmoids_has_the_floor_that_is_known(classes: int, floor: float) -> None:
    scores = torch.full((classes, classes), -100.0).fill_diagonal_(100.0)
    assert float(paper_loss(scores, torch.arange(classes), None, weight=0.0)) == pytest.approx(floor, abs=1e-3)
    assert floor == pytest.approx(math.log(1 + (classes - 1) / math.e), abs=1e-3)


def test_retention_enters_the_loss_with_its_weight() -> None:
    scores, masks = torch.zeros(4, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    columns = torch.zeros(4, dtype=torch.long)
    bare, whole = (float(paper_loss(scores, columns, m, weight=0.1)) for m in (None, masks))
    assert whole - bare == pytest.approx(0.075)


def test_heads_compute_what_is_cut_out() -> None:
    heads = Heads(modules=3, classes=7, hidden=10, seed=4)
    logits = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    scores = heads(logits).detach().numpy()
    for module, head in enumerate(heads.heads()):
        hidden = np.maximum(head.first @ np.maximum(logits[module].numpy().T, 0) + head.first_bias[:, None], 0)
        expected = (head.second @ hidden + head.second_bias[:, None])[0]
        np.testing.assert_allclose(scores[:, module], expected, rtol=1e-4, atol=1e-5)
    assert sum(value.numel() for value in Heads(modules=1, classes=10, hidden=10, seed=0).parameters()) == 121
    assert float(heads.first.detach().abs().max()) <= 1 / math.sqrt(7)


def test_modules_with_heads_are_what_was_trained(split: Decomposition, mnist: tuple[Network, Dataset]) -> None:
    x = mnist[1].x[:20]
    for module in split.modules[:3]:
        assert isinstance(module.head, MlpHead)
        small, oracle = (cut(split.parent, split.sites, module) for cut in (sliced, masked))
        np.testing.assert_allclose(Session(small).run(x), Session(oracle).run(x), rtol=1e-4, atol=1e-4)


def test_it_drops_kernels_and_stays_accurate(split: Decomposition, mnist: tuple[Network, Dataset]) -> None:
    data = mnist[1]
    parts = [(f"m{i}", sliced(split.parent, split.sites, module)) for i, module in enumerate(split.modules)]
    scores = Session(join(parts)).run(data.x)
    assert float((scores.argmax(axis=1) == data.labels).mean()) > 0.75
    assert min(step["kept"] for step in split.history) < 0.9
    assert split.cut == ""


def test_modules_with_heads_are_packed_composed_and_run(
    split: Decomposition, mnist: tuple[Network, Dataset], tmp_path: Path
) -> None:
    flow.write_collection(flow.pack(split), tmp_path / "digits")
    assert len(flow.check(tmp_path / "digits")) == 11
    parts, _ = flow.gather([str(tmp_path / "digits")])
    composite = flow.compose(parts)
    x = mnist[1].x[:20]
    scores = flow.run(composite, mnist[1].pick(np.arange(20)))
    for column, module in enumerate(split.modules):
        alone = Session(sliced(split.parent, split.sites, module)).run(x)[:, 0]
        np.testing.assert_allclose(scores[:, column], alone, rtol=1e-3, atol=1e-3)


def test_the_smallest_epoch_within_the_loss_is_remembered_as_if_all_were() -> None:
    nothing = torch.zeros(0)
    random = np.random.default_rng(0)
    epochs = [
        Epoch(i, float(share), float(accuracy), 0.0, nothing, {})
        for i, (share, accuracy) in enumerate(random.random((40, 2)).round(1))
    ]
    for max_loss in (0.0, 10.0, 60.0):
        remembered: list[Epoch] = []
        for count, epoch in enumerate(epochs, start=1):
            remembered = best_of([*remembered, epoch], max_loss=max_loss, parent=0.9)
            everything = choose(epochs[:count], max_loss=max_loss, parent=0.9)
            chosen = choose(remembered, max_loss=max_loss, parent=0.9)
            assert (chosen.share, chosen.accuracy) == (everything.share, everything.accuracy)
            assert len(remembered) <= 2


def test_masks_stand_still_while_only_heads_learn(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    schedule = Schedule(first_epochs=2, cycles=0)
    learner = Learner.prepare(network, data, data, options=Options(), schedule=schedule, progress=silent)
    before = [value.detach().clone() for value in learner.heads.parameters()]
    learner.learn()
    assert bool((learner.latents == 1).all())
    assert not any(torch.equal(one, other) for one, other in zip(before, learner.heads.parameters(), strict=True))


def test_what_masked_parents_say_is_the_same_cached_or_not(
    mnist: tuple[Network, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    found = []
    for limit in (1 << 28, 0):
        monkeypatch.setattr("modhub.decomposers.gradsplitter.paper.CACHED_NUMBERS", limit)
        schedule = Schedule(first_epochs=2, cycles=1, mask_epochs=1, head_epochs=1)
        result = paper(network, train, validation, options=Options(max_loss=100), schedule=schedule)
        found.append([step["loss"] for step in result.history])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_the_same_seed_gives_the_same_modules(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    options = Options(recipe="paper", steps=1, max_loss=100)
    schedule = Schedule(cycles=1, steps=1)
    one, other = (paper(network, data, data, options=options, schedule=schedule) for _ in range(2))
    assert [step["loss"] for step in one.history] == [step["loss"] for step in other.history]
    assert [m.calibration for m in one.modules] == [m.calibration for m in other.modules]


def test_some_classes_learn_from_their_own_samples_only(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    options = Options(recipe="paper", classes=(3, 7), max_loss=100)
    found = paper(network, data, data, options=options, schedule=Schedule(first_epochs=1, cycles=0))
    assert [module.row for module in found.modules] == [3, 7]
    head = found.modules[0].head
    assert isinstance(head, MlpHead)
    assert head.first.shape == (10, 10)


def test_labels_are_needed(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    with pytest.raises(InvalidData, match="learns from labels"):
        gradsplitter(network, dataclasses.replace(data, y=None), data, options=Options(recipe="paper"))


def test_time_that_is_up_at_once_still_gives_modules(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    found = gradsplitter(network, data, data, options=Options(recipe="paper", budget=1e-6))
    assert len(found.modules) == 10


@given(seed=st.integers(0, 1000))
def test_an_empty_layer_keeps_its_first_kernel_and_others_are_left_alone(seed: int) -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.gemm(builder.gemm(builder.input, 4), 5), 3))
    sites = [site for site in find_sites(network).sites if not site.pinned]
    masks = (torch.rand(7, 9, generator=torch.Generator().manual_seed(seed)) < 0.2).float()
    legal = never_empty(masks, sites)
    for first, last in ((0, 4), (4, 9)):
        for asked, got in zip(masks[:, first:last], legal[:, first:last], strict=True):
            expected = asked if asked.any() else torch.eye(last - first)[0]
            assert torch.equal(got, expected)


def test_layers_that_an_addition_joins_share_their_masks() -> None:
    network = load(read_sample("cifar10-resnet20.onnx"))
    sites = find_sites(network)
    maskable = tuple(site for site in sites.after(network, "") if site.layers)
    tied, free = tied_columns(sites, maskable)
    width = sum(site.size for site in maskable)
    assert len(tied) == width
    # The first stage has a stream and three branches of 16 channels on it.
    assert width - free == 3 * 16
    assert int(tied.max()) == free - 1
    # The stream, the inner layer of the first block, and the layer that ends it.
    stream, inner, branch = tied[:16], tied[16:32], tied[32:48]
    assert torch.equal(stream, branch)
    assert set(stream.tolist()).isdisjoint(inner.tolist())
