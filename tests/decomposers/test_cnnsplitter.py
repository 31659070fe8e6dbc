"""CNNSplitter: bits and what they stand for, ensembles, and both recipes on real digits."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modhub.composer.join import join
from modhub.datasets import load_dataset
from modhub.decomposers.cnnsplitter import ensembles
from modhub.decomposers.cnnsplitter import paper as cnnsplitter_paper
from modhub.decomposers.cnnsplitter.activity import activity
from modhub.decomposers.cnnsplitter.candidates import Candidates
from modhub.decomposers.cnnsplitter.ensembles import (
    best_with,
    differences,
    joint_accuracy,
    one_ensemble,
    single,
    tournament,
)
from modhub.decomposers.cnnsplitter.fast import best_first, cnnsplitter, unexplained, within
from modhub.decomposers.cnnsplitter.genes import Genes, crossed, group_count, mutated
from modhub.decomposers.cnnsplitter.paper import Explorer, Numbers, drawn_groups
from modhub.decomposers.options import Options, silent
from modhub.decomposers.start import start
from modhub.engines.runtime import Session
from modhub.errors import InvalidData, UsageError
from modhub.network.load import load
from modhub.network.modules import ClassModule
from modhub.network.slice import masked, sliced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

FEW = Numbers(population=12, parents=6, elite=3, generations=4)


@pytest.fixture(scope="module")
def mnist(data_folder: Path) -> tuple[Network, Dataset]:
    return load(data_folder / "mnist-mlp1-panrajan.onnx"), load_dataset(data_folder / "mnist-test-200.npz")


@pytest.fixture(scope="module")
def usps(data_folder: Path) -> tuple[Network, Dataset]:
    """A real convolutional network, and inputs of its shape that it was not made for."""
    network = load(data_folder / "usps-cnn-ccexam.onnx")
    shape = [int(size) for size in network.input.shape[1:]]
    x = np.random.default_rng(0).random((40, *shape), dtype=np.float32)
    y = Session(network).run(x).argmax(axis=1)
    y[:10] = np.arange(10)
    data = load_dataset(data_folder / "mnist-test-200.npz")
    return network, dataclasses.replace(data, values=x, y=y.astype(np.int64), name="noise")


@pytest.fixture(scope="module")
def published(mnist: tuple[Network, Dataset]) -> Decomposition:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    return cnnsplitter_paper.paper(network, train, validation, numbers=FEW)


@pytest.fixture(scope="module")
def bred(mnist: tuple[Network, Dataset]) -> Decomposition:
    network, data = mnist
    train, validation = data.split(0.5, seed=0)
    return cnnsplitter(network, train, validation, options=Options(keep=0.3, max_loss=100, steps=60, align=1))


def accuracy_of(decomposition: Decomposition, data: Dataset) -> float:
    parts = [
        (f"m{i}", sliced(decomposition.parent, decomposition.sites, module))
        for i, module in enumerate(decomposition.modules)
    ]
    return float((Session(join(parts)).run(data.x).argmax(axis=1) == data.labels).mean())


def same(one: Decomposition, other: Decomposition) -> bool:
    return all(
        a.calibration == b.calibration and all(np.array_equal(a.kept[site], b.kept[site]) for site in a.kept)
        for a, b in zip(one.modules, other.modules, strict=True)
    )


class TestGenes:
    @pytest.mark.parametrize(
        ("kernels", "sizes"),
        [(512, {6: 12, 5: 88}), (256, {3: 56, 2: 44}), (128, {13: 8, 12: 2}), (64, {7: 4, 6: 6}), (4, {1: 4})],
    )
    def test_layers_are_grouped_as_published(self, kernels: int, sizes: dict[int, int]) -> None:
        genes = Genes.of(np.zeros((1, kernels)), [np.arange(kernels)])
        found, counts = np.unique(genes.sizes, return_counts=True)
        assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == sizes
        assert group_count(kernels) == len(genes.sizes)

    def test_a_plain_network_of_thirteen_layers_has_940_bits(self) -> None:
        widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
        ends = np.cumsum([0, *widths])
        layers = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
        assert Genes.of(np.zeros((1, 4224)), layers).bits == 940

    @given(seed=st.integers(0, 1000))
    def test_each_class_has_its_own_order_and_bits_partition_the_kernels(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        importance = random.random((3, 30))
        genes = Genes.of(importance, [np.arange(12), np.arange(12, 30)])
        one_bit = np.eye(genes.bits, dtype=np.bool_)
        masks = genes.masks(np.stack([one_bit] * 3))
        assert (masks.sum(axis=1) == 1).all()
        assert np.array_equal(masks.sum(axis=2), np.stack([genes.sizes] * 3))
        for own, order in zip(masks, importance, strict=True):
            for layer in genes.layers:
                means = [order[mask].mean() for mask in own[layer]]
                assert means == sorted(means, reverse=True)

    @given(seed=st.integers(0, 1000), bits=st.integers(1, 60), parents=st.integers(1, 8))
    def test_children_are_as_long_as_their_parents_and_made_of_them(self, seed: int, bits: int, parents: int) -> None:
        random = np.random.default_rng(seed)
        old = random.random((parents, bits)) < 0.5
        born = crossed(old, 11, random)
        assert born.shape == (11, bits)
        for number, child in enumerate(born):
            first, second = old[number % parents], old[(number + 1) % parents]
            assert any(
                np.array_equal(child, np.concatenate([first[:point], second[point:]])) for point in range(bits + 1)
            )

    @given(seed=st.integers(0, 1000))
    def test_a_mutation_draws_exactly_its_share_anew_and_half_of_that_flips(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        old = random.random((40, 940)) < 0.5
        new = mutated(old, 0.05, random)
        flips = (old != new).sum(axis=1)
        assert new.shape == old.shape
        assert flips.max() <= 47
        assert 18 < flips.mean() < 29

    @given(seed=st.integers(0, 1000), count=st.integers(0, 40))
    def test_repaired_bits_never_keep_too_many_and_prefer_what_was_active(self, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        sizes = random.integers(1, 4, size=12)
        bits = random.random((5, 12)) < 0.5
        fixed = within(bits, random.normal(size=12), sizes, count)
        assert ((fixed * sizes).sum(axis=1) <= count).all()
        for old, new in zip(bits, fixed, strict=True):
            if (new & ~old).any():
                assert not (old & ~new).any()

    def test_the_best_come_first(self) -> None:
        bits = np.eye(3, dtype=np.bool_)[None]
        kept, losses = best_first(bits, np.array([[0.3, 0.1, 0.2]]), 2)
        assert losses.tolist() == [[0.1, 0.2]]
        assert kept[0].argmax(axis=1).tolist() == [1, 2]

    def test_a_first_population_prefers_important_groups(self) -> None:
        random = np.random.default_rng(0)
        for count in (10, 100):
            draws = np.stack([drawn_groups(count, 0.3, random) for _ in range(200)])
            assert (draws.sum(axis=1) == int(0.3 * count)).all()
            assert draws[:, 0].mean() > draws[:, -1].mean()


class TestEnsembles:
    @given(seed=st.integers(0, 200))
    def test_joint_accuracy_is_that_of_arg_max(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        logits = torch.from_numpy(random.normal(size=(4, 3, 25)).astype(np.float32))
        columns = random.integers(0, 4, size=25)
        apart = torch.zeros(4, 4, 3, 3)
        one = one_ensemble(logits[:2], columns, apart, [1, 2])
        two = [single(logits, columns, 2), single(logits, columns, 3)]
        for other in two:
            accuracy = joint_accuracy(one, other, columns)[0]
            classes = [0, 1, other.classes[0]]
            inside = np.isin(columns, classes)
            for member in range(3):
                scores = torch.stack([logits[0, 1], logits[1, 2], logits[other.classes[0], member]])
                right = np.array(classes)[scores.argmax(dim=0).numpy()] == columns
                assert accuracy[member] == pytest.approx(right[inside].mean() if inside.any() else 0.0)

    def test_differences_are_jaccard_distances(self) -> None:
        masks = torch.tensor([[[1.0, 1, 0, 0]], [[0, 1, 1, 0]]])
        found = differences(masks)
        assert float(found[0, 1, 0, 0]) == pytest.approx(2 / 3)
        assert float(found[0, 0, 0, 0]) == 0.0

    @given(seed=st.integers(0, 100), classes=st.integers(1, 5))
    def test_a_tournament_that_drops_nothing_finds_the_best_of_all_ensembles(self, seed: int, classes: int) -> None:
        random = np.random.default_rng(seed)
        logits = torch.from_numpy(random.normal(size=(classes, 2, 30)).astype(np.float32))
        columns = random.integers(0, classes, size=30)
        apart = differences(torch.from_numpy(random.random((classes, 2, 9)) < 0.5))
        weights = {"weight": 0.9, "apart_weight": 0.1}
        found = tournament(logits, columns, apart, **weights, random=random)
        assert sorted(found.classes) == list(range(classes))
        best = max(
            float(one_ensemble(logits, columns, apart, members).fitness(**weights)[0])
            for members in itertools.product(range(2), repeat=classes)
        )
        assert float(found.fitness(**weights).max()) == pytest.approx(best)
        fitness = best_with(found, size=2, **weights)
        assert fitness.max(axis=1) == pytest.approx([best] * classes)

    def test_no_more_ensembles_survive_than_the_most(self) -> None:
        random = np.random.default_rng(0)
        logits = torch.from_numpy(random.normal(size=(4, 30, 20)).astype(np.float32))
        columns = random.integers(0, 4, size=20)
        found = tournament(logits, columns, torch.zeros(4, 4, 30, 30), weight=0.9, apart_weight=0.1, random=random)
        assert ensembles.FEWEST <= len(found.members) <= ensembles.MOST


class TestPaper:
    def test_modules_are_legal_and_cut_out_as_they_were_judged(
        self, published: Decomposition, mnist: tuple[Network, Dataset]
    ) -> None:
        x = mnist[1].x[:20]
        for module in published.modules:
            assert all(0 < len(kept) <= published.sites[site].size for site, kept in module.kept.items())
            small, oracle = (cut(published.parent, published.sites, module) for cut in (sliced, masked))
            np.testing.assert_allclose(Session(small).run(x), Session(oracle).run(x), rtol=1e-4, atol=1e-4)

    def test_generations_never_lose_their_best_ensemble(self, published: Decomposition) -> None:
        steps = [step for step in published.history if step["step"] == "generation"]
        values = [0.9 * step["accuracy"] + 0.1 * step["difference"] for step in steps]
        assert len(values) == FEW.generations
        assert max(values) == pytest.approx(values[-1], abs=0.02)

    def test_every_layer_is_told_sensitive_or_not(self, published: Decomposition) -> None:
        layers = [step for step in published.history if step["step"] == "layer"]
        assert len(layers) == len([site for site in published.sites.sites if not site.pinned])

    def test_the_same_seed_gives_the_same_modules(
        self, published: Decomposition, mnist: tuple[Network, Dataset]
    ) -> None:
        network, data = mnist
        train, validation = data.split(0.5, seed=0)
        assert same(published, cnnsplitter_paper.paper(network, train, validation, numbers=FEW))

    def test_candidates_are_scored_as_if_each_were_alone(self, usps: tuple[Network, Dataset]) -> None:
        network, data = usps
        begun = start(network, data, data, options=Options(cut="none"), flip=False, progress=silent)
        candidates = Candidates.of(begun)
        random = np.random.default_rng(0)
        masks = candidates.masks(random.random((10, 7, len(candidates.free))) < 0.5)
        found = candidates.logits(masks)
        for classes, number in ((0, 0), (4, 6), (9, 3)):
            kept = begun.batch.kept_channels(masks[:, number])[classes]
            module = ClassModule(label="m", row=classes, kept=kept)
            alone = Session(masked(network, begun.sites, module)).run(candidates.begun.validation.x.numpy())[:, 0]
            np.testing.assert_allclose(found[classes, number].numpy(), alone, rtol=1e-3, atol=1e-3)

    def test_kernels_of_convolutions_fire_over_space(self, usps: tuple[Network, Dataset]) -> None:
        network, data = usps
        begun = start(network, data, data, options=Options(cut="none"), flip=False, progress=silent)
        found = activity(begun, begun.train.x[:5])
        assert found.shape == (5, begun.batch.width)
        assert (found >= 0).all()
        assert found.sum() > 0
        reader = begun.sites.readers[0]
        node = next(node for node in network.nodes if node.outputs[0] == reader.node)
        value = begun.batch.net.run({network.input.name: begun.train.x[:5]}, stop=node.inputs[reader.operand])
        first = np.abs(value.numpy()).sum(axis=(2, 3))
        np.testing.assert_allclose(found[:, : first.shape[1]], first, rtol=1e-4)

    def test_one_class_is_no_tournament_but_works(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        options = Options(recipe="paper", classes=(3,))
        found = cnnsplitter_paper.paper(network, data, data, options=options, numbers=FEW)
        assert [module.row for module in found.modules] == [3]

    def test_time_that_is_up_at_once_still_gives_modules(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        options = Options(recipe="paper", budget=1e-6)
        assert len(cnnsplitter_paper.paper(network, data, data, options=options, numbers=FEW).modules) == 10

    def test_patience_ends_the_search(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        numbers = dataclasses.replace(FEW, generations=50, patience=1)
        options = Options(recipe="paper")
        explorer = Explorer.prepare(network, data, data, options=options, numbers=numbers, progress=silent)
        explorer.explore()
        assert explorer.generation < 50

    def test_labels_are_needed(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        with pytest.raises(InvalidData, match="orders kernels by class"):
            cnnsplitter(network, dataclasses.replace(data, y=None), data, options=Options(recipe="paper"))


class TestFast:
    def test_composed_modules_are_almost_as_accurate_as_their_parent(
        self, bred: Decomposition, mnist: tuple[Network, Dataset]
    ) -> None:
        network, data = mnist
        parent = float((Session(network).run(data.x).argmax(axis=1) == data.labels).mean())
        assert accuracy_of(bred, data) > parent - 0.08

    def test_it_beats_random_masks_at_equal_retention_by_a_wide_margin(
        self, bred: Decomposition, mnist: tuple[Network, Dataset]
    ) -> None:
        random = np.random.default_rng(0)
        modules = tuple(
            dataclasses.replace(
                module,
                kept={
                    site: np.sort(random.choice(bred.sites[site].size, len(kept), replace=False))
                    for site, kept in module.kept.items()
                },
            )
            for module in bred.modules
        )
        control = dataclasses.replace(bred, modules=modules)
        assert accuracy_of(bred, mnist[1]) > accuracy_of(control, mnist[1]) + 0.25

    def test_modules_keep_what_was_asked_for_and_are_cut_out_as_trained(
        self, bred: Decomposition, mnist: tuple[Network, Dataset]
    ) -> None:
        x = mnist[1].x[:20]
        for module in bred.modules:
            assert all(len(kept) <= 0.31 * bred.sites[site].size for site, kept in module.kept.items())
            small, oracle = (cut(bred.parent, bred.sites, module) for cut in (sliced, masked))
            np.testing.assert_allclose(Session(small).run(x), Session(oracle).run(x), rtol=1e-4, atol=1e-4)

    def test_labels_are_not_needed_and_the_seed_decides(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        train, validation = data.split(0.5, seed=0)
        options = Options(keep=0.6, max_loss=100, steps=5)
        one = cnnsplitter(network, train, validation, options=options)
        assert same(one, cnnsplitter(network, dataclasses.replace(train, y=None), validation, options=options))

    def test_breeding_never_makes_the_best_worse(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        told: list[Mapping[str, Any]] = []
        options = Options(keep=0.6, max_loss=100, steps=1)
        cnnsplitter(network, data, data, options=options, progress=told.append)
        losses = [event["loss"] for event in told if event.get("rung") == 1 and "generation" in event]
        assert losses == sorted(losses, reverse=True)

    def test_what_a_scale_and_an_offset_can_mend_is_no_loss(self) -> None:
        target = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).double()
        assert unexplained(5 * target - 7, target).abs().max() < 1e-9
        assert (unexplained(-target, target) == 1).all()

    def test_an_unknown_recipe_is_refused(self, mnist: tuple[Network, Dataset]) -> None:
        network, data = mnist
        with pytest.raises(UsageError, match="no recipe 'slow'"):
            cnnsplitter(network, data, data, options=Options(recipe="slow"))
