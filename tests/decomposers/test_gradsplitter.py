"""GradSplitter on real data: it learns, it keeps its promises, and beats masks that were drawn at random."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modhub.composer.join import join
from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample
from modhub.decomposers.cut import choose_cut
from modhub.decomposers.gradsplitter.distillation import Recipe, distillation_loss, relevant
from modhub.decomposers.gradsplitter.fast import Snapshot, Trainer, gradsplitter
from modhub.decomposers.options import Options, silent
from modhub.decomposers.outcome import choose
from modhub.engines.runtime import Session
from modhub.errors import DecomposeError, UsageError
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.network.trunk import trunk_of
from tests.support.batches import batch_of, maskable_sites
from tests.support.networks import inputs_for, networks, perceptrons

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network


@pytest.fixture(scope="module")
def mnist(data_folder: Path) -> tuple[Network, Dataset]:
    """A real MNIST perceptron of Pan and Rajan and 200 real digits."""
    return load(data_folder / "mnist-mlp1-panrajan.onnx"), load_dataset(data_folder / "mnist-test-200.npz")


@pytest.fixture(scope="module")
def split(mnist: tuple[Network, Dataset]) -> Decomposition:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    options = Options(keep=0.25, max_loss=100, steps=80, align=1)
    return gradsplitter(network, train, validation, options=options, progress=silent)


def accuracy_of(decomposition: Decomposition, data: Dataset) -> float:
    parts = [
        (f"m{i}", sliced(decomposition.parent, decomposition.sites, module))
        for i, module in enumerate(decomposition.modules)
    ]
    scores = Session(join(parts)).run(data.x)
    return float((scores.argmax(axis=1) == data.labels).mean())


def test_composed_modules_are_almost_as_accurate_as_their_parent(
    mnist: tuple[Network, Dataset], split: Decomposition
) -> None:
    network, data = mnist
    parent = float((Session(network).run(data.x).argmax(axis=1) == data.labels).mean())
    assert accuracy_of(split, data) > parent - 0.08


def test_it_beats_random_masks_at_equal_retention_by_a_wide_margin(
    mnist: tuple[Network, Dataset], split: Decomposition
) -> None:
    random = np.random.default_rng(0)
    control = replace(
        split,
        modules=tuple(
            replace(
                module,
                kept={
                    site: np.sort(random.choice(split.sites[site].size, len(kept), replace=False))
                    for site, kept in module.kept.items()
                },
            )
            for module in split.modules
        ),
    )
    assert accuracy_of(split, mnist[1]) > accuracy_of(control, mnist[1]) + 0.25


def test_every_module_keeps_the_share_that_was_asked_for(split: Decomposition) -> None:
    for module in split.modules:
        for site, kept in module.kept.items():
            assert len(kept) <= 0.4 * split.sites[site].size


def test_scores_are_calibrated_and_measured(split: Decomposition) -> None:
    for module in split.modules:
        assert module.calibration is not None
        assert module.calibration.scale > 0
        assert {"precision", "recall", "f1"} <= module.metrics.keys()


def test_what_is_trained_is_what_is_cut_out(split: Decomposition, mnist: tuple[Network, Dataset]) -> None:
    x = mnist[1].x[:20]
    for module in split.modules[:3]:
        small, oracle = (cut(split.parent, split.sites, module) for cut in (sliced, masked))
        np.testing.assert_allclose(Session(small).run(x), Session(oracle).run(x), rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_modules(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    options = Options(keep=0.5, max_loss=100, steps=10, seed=3)
    first, second = (gradsplitter(network, train, validation, options=options, progress=silent) for _ in range(2))
    for one, other in zip(first.modules, second.modules, strict=True):
        assert all(np.array_equal(one.kept[site], other.kept[site]) for site in one.kept)
        assert one.calibration == other.calibration


def test_labels_are_not_needed_to_learn(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    options = Options(keep=0.5, max_loss=100, steps=10)
    with_labels = gradsplitter(network, train, validation, options=options, progress=silent)
    without = gradsplitter(network, replace(train, y=None), validation, options=options, progress=silent)
    for one, other in zip(with_labels.modules, without.modules, strict=True):
        assert all(np.array_equal(one.kept[site], other.kept[site]) for site in one.kept)


def test_some_classes_only(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    options = Options(keep=0.5, max_loss=100, steps=5, classes=(3, 7))
    found = gradsplitter(network, train, validation, options=options, progress=silent)
    assert [module.row for module in found.modules] == [3, 7]


def test_a_network_with_nothing_to_mask_is_refused(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    last = network.nodes[-1].inputs[0]
    options = Options(cut=last)
    with pytest.raises(DecomposeError, match="nothing to mask"):
        gradsplitter(network, data, data, options=options, progress=silent)


def test_an_unknown_recipe_is_refused(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    with pytest.raises(UsageError, match="no recipe 'slow'"):
        gradsplitter(network, data, data, options=Options(recipe="slow"), progress=silent)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(network=st.one_of(networks(), perceptrons()), seed=st.integers(0, 1000))
def test_all_modules_in_one_batch_score_what_each_scores_alone(network: Network, seed: int) -> None:
    assume(maskable_sites(network))
    batch = batch_of(network, seed=seed)
    rows, sites = batch.rows, batch.sites
    masks = batch.masks(max(1, batch.width // 2))
    x = inputs_for(network, seed=seed)
    with torch.no_grad():
        scores = batch(torch.from_numpy(x), masks).numpy()
    kept, affine = batch.kept_channels(masks), batch.affine_maps()
    for row in rows:
        if all(len(channels) for channels in kept[row].values()):
            module = ClassModule(label=str(row), row=row, kept=kept[row], affine=affine[row])
            alone = Session(masked(network, sites, module)).run(x)[:, 0]
            np.testing.assert_allclose(scores[:, row], alone, atol=1e-4 * max(1.0, float(np.abs(alone).max())))


def test_modules_may_look_at_different_samples(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    trainer = Trainer.prepare(network, data, data, options=Options(), recipe=Recipe(), progress=silent)
    trainer.begin()
    masks = trainer.batch.masks(20)
    rows = relevant(trainer.train.logits[:40], share=0.25, seed=1)
    with torch.no_grad():
        everything = trainer.batch(trainer.train.x[:40], masks)
        some = trainer.batch(trainer.train.x[:40][rows.reshape(-1)], masks, batch=rows.shape[1])
    torch.testing.assert_close(some, everything.gather(0, rows.T))


def test_a_module_looks_at_its_own_class_first() -> None:
    target = torch.zeros(100, 4)
    labels = torch.arange(100) % 4
    target[torch.arange(100), labels] = 20.0
    rows = relevant(target, share=0.25, seed=0)
    for module in range(4):
        assert (labels[rows[module]] == module).all()


def test_of_many_classes_each_module_looks_at_as_few_samples_of_more() -> None:
    few, many = Recipe().of(10), Recipe().of(100)
    assert few == Recipe()
    assert many.batch > few.batch
    target = torch.randn(many.batch, 100, generator=torch.Generator().manual_seed(0))
    rows = relevant(target, share=many.relevant, seed=0)
    assert rows.shape[0] == 100
    assert rows.shape[1] <= round(few.relevant * few.batch)


def test_copying_the_parent_costs_nothing() -> None:
    target = torch.randn(8, 5)
    assert float(distillation_loss(target, target, recipe=Recipe())) == pytest.approx(0.0, abs=1e-6)


def test_the_smallest_snapshot_within_the_loss_is_chosen() -> None:
    none = torch.zeros(0)
    history = [
        Snapshot(i, share, accuracy, 0.0, none, {})
        for i, (share, accuracy) in enumerate([(0.7, 0.95), (0.5, 0.93), (0.3, 0.6)])
    ]
    assert choose(history, max_loss=3.0, parent=0.95).share == 0.5
    assert choose(history, max_loss=0.1, parent=0.95).share == 0.7
    assert choose(history, max_loss=0.1, parent=0.99).share == 0.7


def test_the_trunk_of_a_residual_network_is_shared_by_default() -> None:
    network = load(read_sample("cifar10-resnet20.onnx"))
    cut, maskable = choose_cut(network, find_sites(network), "auto")
    assert cut == "relu_12"
    assert sum(site.size for site in maskable) == 384
    assert len(trunk_of(network, cut).nodes) == 35


def test_a_single_step_already_keeps_the_share_that_was_asked_for(mnist: tuple[Network, Dataset]) -> None:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    options = Options(keep=0.5, max_loss=100, steps=1, align=1)
    found = gradsplitter(network, train, validation, options=options, progress=silent)
    for module in found.modules:
        assert all(len(kept) <= 0.55 * found.sites[site].size for site, kept in module.kept.items())
