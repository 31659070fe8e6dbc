"""Modules that mask single weights, composed: side by side, as their union, packed or materialised."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub import flow
from modhub.composer.compose import Part, compose
from modhub.composer.packed import words
from modhub.datasets import Dataset
from modhub.engines.runtime import Session
from modhub.errors import ComposeError
from modhub.network.modules import ClassModule
from modhub.network.slice import masked, sliced
from modhub.package.materialise import network_of
from modhub.package.package import Package
from modhub.spec.manifest import Metric
from tests.support.architectures import convolutional, recurrent, transformers
from tests.support.networks import Builder, inputs_for
from tests.support.samples import parts as channel_parts
from tests.support.weight_masks import masked_weights, parts_of

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

FAMILIES = convolutional() | transformers() | recurrent()
SLOW = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def perceptron(*, seed: int = 0) -> Network:
    """Return a classifier with two layers under the classifier."""
    builder = Builder(shape=(30,), seed=seed)
    hidden = builder.relu(builder.gemm(builder.relu(builder.gemm(builder.input, 40)), 20))
    return builder.build(builder.gemm(hidden, 5))


def inner(network: Network, **choices: float) -> Decomposition:
    """Return modules that mask every layer but the classifier, as those of a decomposer do."""
    split = masked_weights(network, modules=5, **choices)  # type: ignore[arg-type]
    last = network.nodes[-1].inputs[1]
    modules = [
        dataclasses.replace(m, weights={name: flags for name, flags in m.weights.items() if name != last})
        for m in split.modules
    ]
    return dataclasses.replace(split, modules=tuple(modules))


def measured(part: Part, *, together: float, union: float) -> Part:
    """Return a part whose manifest says how well the modules of its collection compose."""
    found = {"composed_accuracy": together, "union_accuracy": union}
    metrics = {name: Metric(value=value, split="validation", n=100) for name, value in found.items()}
    manifest = dataclasses.replace(part.package.manifest, metrics=metrics)
    files = {**part.package.files, "module.json": manifest.to_json()}
    return dataclasses.replace(part, package=Package(manifest=manifest, files=files))


@SLOW
@given(
    network=FAMILIES,
    seed=st.integers(0, 100),
    strategy=st.sampled_from(("trunk", "parallel")),
    masks=st.sampled_from(("materialised", "packed")),
    form=st.sampled_from(("delta", "values")),
)
def test_a_module_scores_inside_a_composite_as_alone(
    network: Network, seed: int, strategy: str, masks: str, form: str
) -> None:
    parts = parts_of(masked_weights(network, seed=seed), form)
    x = inputs_for(network, batch=4)
    scores = Session(compose(parts, strategy=strategy, masks=masks).network).run(x)
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(scores[:, [i]], Session(network_of(part.package, part.base)).run(x))


@SLOW
@given(network=FAMILIES, seed=st.integers(0, 100), masks=st.sampled_from(("materialised", "packed")))
def test_the_union_of_one_module_is_the_module(network: Network, seed: int, masks: str) -> None:
    part = parts_of(masked_weights(network, seed=seed))[0]
    x = inputs_for(network, batch=4)
    union = compose([part], strategy="union", masks=masks)
    np.testing.assert_array_equal(Session(union.network).run(x), Session(network_of(part.package, part.base)).run(x))


@SLOW
@given(network=FAMILIES, seed=st.integers(0, 100), form=st.sampled_from(("delta", "values")))
def test_a_union_is_one_network_with_what_any_module_keeps(network: Network, seed: int, form: str) -> None:
    split = masked_weights(network, seed=seed, apart=0.2)
    x = inputs_for(network, batch=4)
    scores = Session(compose(parts_of(split, form), strategy="union").network).run(x)
    names = split.modules[0].weights
    together = {name: np.logical_or.reduce([m.weights[name] for m in split.modules]) for name in names}
    for i, module in enumerate(split.modules):
        expected = masked(network, split.sites, dataclasses.replace(module, weights=together))
        np.testing.assert_allclose(scores[:, [i]], Session(expected).run(x), rtol=1e-4, atol=1e-4)


def test_a_union_costs_one_pass() -> None:
    split = inner(perceptron(), apart=0.2)
    parts = parts_of(split)
    union, trunk = (compose(parts, strategy=strategy) for strategy in ("union", "trunk"))
    assert union.cost == pytest.approx(1 / 5, abs=0.03)
    assert trunk.cost == pytest.approx(1.0, abs=0.03)
    assert sum(node.op == "Gemm" for node in union.network.nodes) == 2 + 5
    masks = [np.concatenate([flags.reshape(-1) for flags in module.weights.values()]) for module in split.modules]
    assert union.package.manifest.metrics["union_density"].value == np.logical_or.reduce(masks).mean()


def test_channels_have_a_union_too() -> None:
    bare = [
        ClassModule(label=label, row=row, kept={"relu0": np.array(kept)} if kept else {})
        for row, (label, kept) in enumerate((("a", [0, 2]), ("b", [2, 3, 7])))
    ]
    network = perceptron()
    split = dataclasses.replace(masked_weights(network), modules=tuple(bare))
    site = next(site.id for site in split.sites.sites if site.size == 40)
    modules = tuple(dataclasses.replace(m, kept={site: m.kept["relu0"]}) for m in bare)
    parts = parts_of(dataclasses.replace(split, modules=modules))
    union = compose(parts, strategy="union")
    x = inputs_for(network)
    for i, module in enumerate(modules):
        joined = dataclasses.replace(module, kept={site: np.array([0, 2, 3, 7])})
        expected = Session(sliced(network, split.sites, joined)).run(x)
        np.testing.assert_array_equal(Session(union.network).run(x)[:, [i]], expected)


def test_packed_masks_lie_beside_weights_that_are_stored_once(tmp_path: Path) -> None:
    builder = Builder(shape=(100,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 200)), 5))
    parts = parts_of(inner(network))
    whole, small = (compose(parts, strategy="trunk", masks=masks) for masks in ("materialised", "packed"))
    assert small.package.size < 0.4 * whole.package.size
    assert small.package.manifest.method is not None
    assert small.package.manifest.method.parameters["masks"] == "packed"
    flow.write_package(small.package, tmp_path / "small")
    flow.check(tmp_path / "small")
    data = Dataset.of(inputs_for(network, batch=20), name="random")
    model = flow.load(tmp_path / "small")
    np.testing.assert_array_equal(flow.run(model, data), flow.run(whole, data))
    np.testing.assert_allclose(flow.run(model, data, engine="torch"), flow.run(whole, data), rtol=0, atol=1e-5)


def test_words_hold_64_flags() -> None:
    flags = np.zeros(70, dtype=np.bool_)
    flags[[0, 63, 64]] = True
    assert words(flags).tolist() == [1 - 2**63, 1]


@pytest.mark.parametrize(
    ("together", "union", "expected"), [(0.9, 0.92, "union"), (0.9, 0.9, "union"), (0.92, 0.9, "trunk")]
)
def test_auto_takes_what_the_manifests_say_is_better(together: float, union: float, expected: str) -> None:
    parts = [measured(part, together=together, union=union) for part in parts_of(inner(perceptron()))]
    composite = compose(parts)
    assert composite.strategy == expected
    if expected == "union":
        assert f"get {100 * union:.1f} % of the validation data right, side by side" in composite.why
        assert composite.package.manifest.metrics["union_accuracy"].value == union


def test_auto_stays_with_the_trunk_where_nothing_was_measured() -> None:
    parts = parts_of(inner(perceptron()))
    assert compose(parts).strategy == "trunk"
    some = [measured(parts[0], together=0.8, union=0.9), measured(parts[1], together=0.8, union=0.95)]
    assert compose(some).strategy == "trunk"
    assert compose([measured(parts[0], together=0.8, union=0.9)]).strategy == "trunk"


def test_a_union_needs_masks_of_one_parent() -> None:
    parts = parts_of(inner(perceptron()))
    others = parts_of(inner(perceptron(seed=3)))
    with pytest.raises(ComposeError, match="come from 2 parents and share no weights: use 'parallel' or 'auto'"):
        compose([parts[0], others[1]], strategy="union")
    alone = parts_of(inner(perceptron()), "standalone")
    with pytest.raises(ComposeError, match="travels without its masks: this needs its form 'delta' and its base"):
        compose(alone, strategy="union")


def test_modules_with_scales_of_their_own_have_no_union() -> None:
    with pytest.raises(ComposeError, match=r"'cat' and 'dog' scale the channels of a layer differently; use the strat"):
        compose(channel_parts("delta")[:2], strategy="union")


def test_there_must_be_masks_to_pack() -> None:
    with pytest.raises(ComposeError, match="there are no masks to pack"):
        compose(channel_parts("delta"), strategy="trunk", masks="packed")
    with pytest.raises(ComposeError, match="masks are materialised or packed, not 'zipped'"):
        compose(parts_of(inner(perceptron())), masks="zipped")


def test_modules_of_several_parents_are_packed_side_by_side() -> None:
    parts = [parts_of(inner(perceptron()))[0], parts_of(inner(perceptron(seed=3)))[1]]
    composite = compose(parts, masks="packed")
    x = inputs_for(perceptron())
    for i, part in enumerate(parts):
        alone = Session(network_of(part.package, part.base)).run(x)
        np.testing.assert_array_equal(Session(composite.network).run(x)[:, [i]], alone)


def test_a_composite_of_a_composite_keeps_its_packed_masks() -> None:
    parts = parts_of(inner(perceptron()))
    first = compose(parts[:2], masks="packed")
    whole = compose([Part(reference="first", package=first.package), parts[2]])
    x = inputs_for(perceptron())
    np.testing.assert_array_equal(Session(whole.network).run(x)[:, :2], Session(first.network).run(x))
