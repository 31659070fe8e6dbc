"""Weight masks: what the method promises, on a small network of its own and on real ones."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub import flow
from modhub.composer.compose import compose
from modhub.datasets import Dataset, load_dataset
from modhub.decomposers.options import Options, silent
from modhub.decomposers.weightmask import weightmask
from modhub.decomposers.weightmask.arrays import choose_weights, fan_in, maskable_arrays
from modhub.decomposers.weightmask.batch import WeightBatch
from modhub.decomposers.weightmask.masks import consensus, density, deviation, highest, overlap, union
from modhub.decomposers.weightmask.recipe import FAST, KAIMING, PAPER, Recipe
from modhub.decomposers.weightmask.training import Trainer
from modhub.engines.runtime import Session
from modhub.engines.torch_engine import to_torch
from modhub.errors import DecomposeError, UsageError
from modhub.network.modules import Decomposition, MlpHead
from modhub.network.onnx_file import fingerprint
from modhub.network.slice import masked
from modhub.package.materialise import network_of
from tests.support.networks import Builder, inputs_for
from tests.support.weight_masks import CLASSES, clusters, parts_of, trained_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from modhub.decomposers.weightmask.training import Rung
    from modhub.network.network import Network

QUICK = dataclasses.replace(FAST, steps=120)


def trainer(recipe: Recipe = QUICK, *, keep: float = 0.15, sharing: float = 0.0) -> Trainer:
    """Return a trainer of the small problem's modules."""
    return Trainer.prepare(
        trained_parent(),
        clusters(),
        clusters(seed=1),
        options=Options(keep=keep),
        recipe=recipe,
        progress=silent,
        sharing=sharing,
    )


@functools.cache
def learned(*, init: str = QUICK.init, sharing: float = 0.0) -> Rung:
    """Return modules at a density of 15 %, learned there from the start."""
    return trainer(dataclasses.replace(QUICK, init=init), sharing=sharing).climb(0, 1.0, 0.15)


@functools.cache
def split() -> Decomposition:
    """Return the small problem's parent split within the usual loss."""
    options = Options(keep=0.15, steps=150, max_loss=0.5)
    return weightmask(trained_parent(), clusters(), clusters(seed=1), options=options)


def restricted(scores: np.ndarray, classes: list[int], data: Dataset) -> float:
    """Return the accuracy among some classes of scores with a column for each of them."""
    inside = np.isin(data.labels, classes)
    return float((np.array(classes)[scores[inside].argmax(axis=1)] == data.labels[inside]).mean())


def class_sets(sizes: tuple[int, ...] = (2, 3, 5), count: int = 20) -> Iterator[list[int]]:
    """Yield random sets of classes, and all of them."""
    random = np.random.default_rng(0)
    for i in range(count):
        yield sorted(random.choice(CLASSES, sizes[i % len(sizes)], replace=False).tolist())
    yield list(range(CLASSES))


def test_masks_that_keep_everything_give_the_parents_logits() -> None:
    begun, data = trainer(), clusters(seed=1)
    masks = begun.scores.masks(1.0)
    logits = Session(trained_parent()).run(data.x)
    side_by_side = begun.raw_scores(begun.validation.x, masks)
    np.testing.assert_allclose(side_by_side, logits, rtol=0, atol=1e-5)
    for classes in class_sets():
        joined = begun.union_scores(begun.validation.x, masks, classes)[:, classes]
        np.testing.assert_allclose(joined, logits[:, classes], rtol=0, atol=1e-5)
        assert (side_by_side[:, classes].argmax(axis=1) == logits[:, classes].argmax(axis=1)).all()


def test_learning_changes_no_weight() -> None:
    parent = trained_parent()
    before, arrays = fingerprint(parent), {name: array.copy() for name, array in parent.arrays.items()}
    begun = trainer()
    begun.climb(0, 1.0, 0.5)
    assert fingerprint(parent) == before
    for name, array in begun.batch.net.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_modules_score_does_not_depend_on_who_else_is_there() -> None:
    parts, x = parts_of(split()), clusters(seed=1).x
    whole = flow.run(compose(parts, strategy="trunk"), clusters(seed=1))
    for classes in ([0, 3], [2, 5, 7]):
        some = compose([parts[i] for i in classes], strategy="trunk")
        np.testing.assert_array_equal(Session(some.network).run(x), whole[:, classes])


def test_a_union_grows_with_its_members_and_holds_them() -> None:
    masks = learned().masks
    before = 0.0
    for count in range(1, CLASSES + 1):
        members = torch.arange(count)
        joined = union(masks, members)
        assert density(joined) >= before
        before = density(joined)
        assert all(bool((own[:count] <= flags).all()) for own, flags in zip(masks, joined, strict=True))


@pytest.mark.parametrize("share", [0.03, 0.15, 0.5, 1.0])
def test_every_layer_keeps_the_share_that_was_asked_to_within_a_weight(share: float) -> None:
    for own in trainer().scores.masks(share):
        kept = own.flatten(1).sum(dim=1)
        assert bool((kept == kept[0]).all())
        assert abs(int(kept[0]) - share * own[0].numel()) <= 1


def test_ties_do_not_change_the_density() -> None:
    assert highest(torch.zeros(2, 7, 3), 1 / 3).flatten(1).sum(dim=1).tolist() == [7, 7]


def test_recomposed_modules_lose_no_more_than_was_allowed() -> None:
    data = clusters(seed=1)
    logits = Session(trained_parent()).run(data.x)
    parts = parts_of(split())
    composed = compose(parts)
    scores = Session(composed.network).run(data.x)
    together = Session(compose(parts, strategy="trunk").network).run(data.x)
    lost = []
    for classes in class_sets():
        joined = Session(compose([parts[i] for i in classes], strategy="union").network).run(data.x)
        parent = restricted(logits[:, classes], classes, data)
        lost.append(parent - max(restricted(joined, classes, data), restricted(together[:, classes], classes, data)))
    assert max(lost) <= 0.02
    assert np.mean(lost) <= 0.005
    assert restricted(scores, list(range(CLASSES)), data) >= restricted(logits, list(range(CLASSES)), data) - 0.005


def test_starting_from_magnitudes_shares_far_more_than_starting_at_random() -> None:
    assert learned().sharing()["union_density"] < 0.5 * learned(init=KAIMING).sharing()["union_density"]


def test_the_sharing_weight_draws_masks_together() -> None:
    found = [learned(sharing=weight).sharing()["deviation"] for weight in (0.0, 0.01, 0.05)]
    assert all(after <= before + 0.002 for before, after in itertools.pairwise(found))
    assert found[-1] < 0.3 * found[0]


def test_learned_masks_beat_random_ones_and_magnitudes_alone() -> None:
    untrained, random = trainer(), trainer(dataclasses.replace(QUICK, init=KAIMING))
    learnt = learned()
    assert learnt.share == pytest.approx(untrained.measured(untrained.scores.masks(0.15)).share)
    assert learnt.accuracy > untrained.measured(untrained.scores.masks(0.15)).accuracy + 0.02
    assert learnt.accuracy > random.measured(random.scores.masks(0.15)).accuracy + 0.05


def test_the_union_term_makes_one_network_of_all_modules_work() -> None:
    without = trainer(dataclasses.replace(QUICK, union=0.0)).climb(0, 1.0, 0.08)
    with_it = trainer().climb(0, 1.0, 0.08)
    assert with_it.union > without.union


def test_the_density_falls_until_too_much_is_lost() -> None:
    strict, lax = (
        weightmask(trained_parent(), clusters(), clusters(seed=1), options=Options(keep=0.01, steps=20, max_loss=loss))
        for loss in (0.3, 30.0)
    )
    shares = [split.modules[0].metrics["density"].value for split in (strict, lax)]
    assert shares[1] < shares[0]
    assert shares[1] == pytest.approx(0.01, abs=0.002)
    assert [step["kept"] for step in lax.history] == sorted((step["kept"] for step in lax.history), reverse=True)


def test_the_manifest_says_what_was_measured_of_all_modules_together() -> None:
    metrics = split().modules[0].metrics
    for name in ("composed_accuracy", "union_accuracy", "density", "union_density", "jaccard", "deviation"):
        assert all(module.metrics[name] == metrics[name] for module in split().modules)
    data = clusters(seed=1)
    for strategy, name in (("trunk", "composed_accuracy"), ("union", "union_accuracy")):
        composite = compose(parts_of(split()), strategy=strategy)
        found = restricted(Session(composite.network).run(data.x), list(range(CLASSES)), data)
        assert found == pytest.approx(metrics[name].value, abs=1e-3)
        assert composite.package.manifest.metrics[name] == metrics[name]


def test_modules_stand_for_what_was_learned() -> None:
    begun = trainer()
    rung = begun.climb(0, 1.0, 0.3)
    for i, own in enumerate(zip(*rung.masks, strict=True)):
        module = dataclasses.replace(
            split().modules[i], calibration=None, weights=dict(zip(begun.names, (m.numpy() for m in own), strict=True))
        )
        scores = Session(masked(trained_parent(), split().sites, module)).run(clusters(seed=1).x)
        np.testing.assert_allclose(scores[:, 0], rung.scores[:, i], rtol=0, atol=1e-4)


def test_the_papers_recipe_grafts_a_head_of_its_own() -> None:
    options = Options(recipe="paper", keep=0.3, steps=150, max_loss=50)
    found = weightmask(trained_parent(), clusters(), clusters(seed=1), options=options)
    assert found.method.recipe == "paper"
    assert all(isinstance(module.head, MlpHead) for module in found.modules)
    data = clusters(seed=1)
    scores = Session(compose(parts_of(found), strategy="trunk").network).run(data.x)
    assert restricted(scores, list(range(CLASSES)), data) == pytest.approx(
        found.modules[0].metrics["composed_accuracy"].value, abs=2e-3
    )


def test_the_papers_regulariser_lets_modules_share() -> None:
    recipe = dataclasses.replace(PAPER, steps=150)
    free, drawn = (
        trainer(dataclasses.replace(recipe, stem=weight)).climb(0, 1.0, 0.3).sharing()["union_density"]
        for weight in (0.0, 100.0)
    )
    assert drawn < 0.9 * free


def test_without_labels_the_parents_answers_are_learned() -> None:
    bare = dataclasses.replace(clusters(), y=None)
    found = weightmask(trained_parent(), bare, clusters(seed=1), options=Options(keep=0.3, steps=60, max_loss=5))
    assert found.modules[0].metrics["composed_accuracy"].value > 0.9 * found.parent_metrics["accuracy"].value


def test_some_classes_alone() -> None:
    options = Options(keep=0.3, steps=40, max_loss=5, classes=(2, 5))
    found = weightmask(trained_parent(), clusters(), clusters(seed=1), options=options)
    assert [(module.label, module.row) for module in found.modules] == [("c2", 2), ("c5", 5)]


def test_a_single_class() -> None:
    options = Options(keep=0.3, steps=40, max_loss=5, classes=(4,))
    (module,) = weightmask(trained_parent(), clusters(), clusters(seed=1), options=options).modules
    assert module.metrics["balanced_accuracy"].value > 0.8


def test_equal_input_gives_equal_masks() -> None:
    runs = [
        weightmask(trained_parent(), clusters(), clusters(seed=1), options=Options(keep=0.3, steps=20, max_loss=50))
        for _ in range(2)
    ]
    for one, other in zip(runs[0].modules, runs[1].modules, strict=True):
        assert all(np.array_equal(flags, other.weights[name]) for name, flags in one.weights.items())


@pytest.mark.parametrize("batched", [True, False])
def test_modules_at_once_score_as_one_by_one(*, batched: bool) -> None:
    network = trained_parent()
    _, names = choose_weights(network, "none")
    net = WeightBatch(to_torch(network), start=network.input.name, names=names, batched=batched)
    random = torch.Generator().manual_seed(0)
    weights = [
        torch.stack([own * (torch.rand(own.shape, generator=random) < 0.5) for _ in range(3)])
        for own in net.originals()
    ]
    x = torch.from_numpy(clusters().x[:5])
    together = net.together(x, weights)
    for i in range(3):
        torch.testing.assert_close(together[i], net.alone(x, [own[i] for own in weights]))


def recurrent(kind: str) -> Network:
    """Return a classifier of token sequences."""
    builder = Builder(shape=(6,), vocabulary=30)
    gates, hidden = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 12
    value = builder.apply("Gather", builder.weight((30, 8)), builder.input, shape=(6, 8))
    weights = [builder.weight((1, gates * hidden, 8)), builder.weight((1, gates * hidden, hidden))]
    value = builder.apply("Transpose", value, shape=(6, 8), perm=(1, 0, 2))
    states = builder.apply(kind, value, *weights, shape=(6, 1, hidden), hidden_size=hidden)
    value = builder.apply("Transpose", states, shape=(6, 1, hidden), perm=(2, 0, 1, 3))
    return builder.build(builder.gemm(builder.flatten(value), 4))


def attention() -> Network:
    """Return a classifier with one block of attention and a residual addition."""
    builder = Builder(shape=(6,), vocabulary=30)
    value = builder.apply("Gather", builder.weight((30, 8)), builder.input, shape=(6, 8))
    queries, keys, values = (builder.matmul(value, 8) for _ in range(3))
    scores = builder.apply("MatMul", queries, builder.transpose(keys, 2, 1), shape=(6, 6))
    mixed = builder.apply("MatMul", builder.apply("Softmax", scores, axis=-1), values, shape=(6, 8))
    value = builder.add(value, builder.matmul(mixed, 8))
    return builder.build(builder.gemm(builder.flatten(value), 4))


def convolutional() -> Network:
    """Return a residual network of an early and a late stage."""
    builder = Builder(shape=(3, 8, 8))
    value = builder.relu(builder.conv(builder.input, 4))
    value = builder.relu(builder.conv(value, 16, stride=2))
    value = builder.relu(builder.add(value, builder.conv(builder.relu(builder.conv(value, 16)), 16)))
    return builder.build(builder.gemm(builder.flatten(builder.global_pool(value)), 4))


FAMILIES: dict[str, Any] = {
    "LSTM": lambda: recurrent("LSTM"),
    "GRU": lambda: recurrent("GRU"),
    "RNN": lambda: recurrent("RNN"),
    "attention": attention,
    "convolutions": convolutional,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_split_packed_and_composed(family: str) -> None:
    network: Network = FAMILIES[family]()
    x = inputs_for(network, batch=80)
    y = Session(network).run(x).argmax(axis=1).astype(np.int64)
    data = Dataset.of(x, y=y, classes=[f"c{i}" for i in range(4)], name="random")
    found = weightmask(network, data, data, options=Options(keep=0.4, steps=6, max_loss=100))
    parts = parts_of(found)
    for strategy in ("trunk", "union"):
        whole = compose(parts, strategy=strategy)
        small = compose(parts, strategy=strategy, masks="packed")
        np.testing.assert_array_equal(Session(whole.network).run(x), Session(small.network).run(x))
    scores = Session(compose(parts, strategy="trunk").network).run(x)
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(scores[:, [i]], Session(network_of(part.package, part.base)).run(x))


def test_masks_act_on_the_weights_of_layers_but_not_on_the_classifier() -> None:
    network = recurrent("LSTM")
    names = maskable_arrays(network)
    assert [network.arrays[name].shape for name in names] == [(1, 48, 8), (1, 48, 12)]
    assert [fan_in(network, name) for name in names] == [8, 12]
    network = attention()
    assert [network.arrays[name].shape for name in maskable_arrays(network)] == [(8, 8)] * 4


def test_an_automatic_trunk_leaves_most_weights_to_the_masks() -> None:
    network = convolutional()
    cut, names = choose_weights(network, "auto")
    assert cut
    assert len(names) < len(maskable_arrays(network))
    size = sum(network.arrays[name].size for name in names)
    assert size >= 0.75 * sum(network.arrays[name].size for name in maskable_arrays(network))
    assert choose_weights(trained_parent(), "auto")[0] == ""


def test_what_cannot_be_masked_is_refused() -> None:
    builder = Builder(shape=(5,))
    network = builder.build(builder.gemm(builder.input, 3))
    with pytest.raises(DecomposeError, match="the classifier is the only layer with weights"):
        choose_weights(network, "auto")
    with pytest.raises(DecomposeError, match="cannot cut at 'nowhere'"):
        choose_weights(trained_parent(), "nowhere")
    with pytest.raises(UsageError, match="weightmask has no recipe 'slow'; the recipes are: fast, paper"):
        weightmask(trained_parent(), clusters(), clusters(seed=1), options=Options(recipe="slow"))


def test_what_masks_have_in_common() -> None:
    flags = [torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)]
    assert consensus(flags)[0].tolist() == [True, False, False, False]
    assert density(union(flags)) == 0.75
    assert deviation(flags) == pytest.approx(2 / 12)
    assert overlap(flags)[0].tolist() == pytest.approx([1, 1 / 3, 1 / 2])


def test_progress_tells_about_every_density() -> None:
    events: list[Mapping[str, Any]] = []
    options = Options(keep=0.3, steps=5, max_loss=100)
    weightmask(trained_parent(), clusters(), clusters(seed=1), options=options, progress=events.append)
    steps = ["trunk", "parent", "training", "rung", "training", "rung", "chosen"]
    assert [event["step"] for event in events] == steps
    assert [event["left_s"] for event in events if event["step"] == "rung"][-1] == 0
    assert events[0]["weights"] == 20 * 40 + 40 * 24


def test_a_real_perceptron_keeps_its_accuracy_on_few_weights(data_folder: Path) -> None:
    network = flow.load(data_folder / "mnist-mlp1-panrajan.onnx").network
    train, validation = load_dataset(data_folder / "mnist-test-200.npz").split(0.4, seed=0)
    found = weightmask(network, train, validation, options=Options(keep=0.3, steps=25, max_loss=10))
    assert found.modules[0].metrics["density"].value == pytest.approx(0.3, abs=0.01)
    assert found.modules[0].metrics["union_density"].value < 0.4
