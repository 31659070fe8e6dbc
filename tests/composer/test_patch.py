"""Patching: a weak model's class is scored by a module, and nothing else is worse for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub import flow
from modhub.composer.adapters import adapted, needed, resize_matrix
from modhub.composer.glue import Seen, fit, guard, odds, outcome, replacing
from modhub.composer.patch import Options
from modhub.datasets import load_dataset
from modhub.engines.model import Model
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, InvalidData, UsageError
from tests.support.networks import Builder
from tests.support.pets import CLASSES, pets_arrays, pets_network, pets_packages

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.composer.compose import Part
    from modhub.datasets import Dataset
    from modhub.network.network import Network


def data(samples: int = 80) -> Dataset:
    from modhub.datasets import Dataset

    arrays = pets_arrays(samples=samples)
    return Dataset.of(arrays["x"], y=arrays["y"], classes=CLASSES)


def part(tmp_path: Path, label: str = "dog", network: Network | None = None) -> Part:
    folder = flow.write_collection(pets_packages(network=network), tmp_path / "pets")
    parts, _ = flow.gather([str(folder)])
    return next(own for own in parts if own.package.name == label)


def other_network(shape: tuple[int, ...] = (3, 8, 8)) -> Network:
    builder = Builder(shape=shape, seed=7)
    return builder.build(builder.gemm(builder.flatten(builder.relu(builder.conv(builder.input, 5))), len(CLASSES)))


@pytest.mark.parametrize("glue", ["linear", "minmax", "none"])
@pytest.mark.parametrize("label", ["cat", "bird"])
def test_a_class_at_any_position_is_taken_over(glue: str, label: str, tmp_path: Path) -> None:
    weak = Model.of(other_network(), columns=CLASSES)
    patched = flow.patch(weak, part(tmp_path, label), Options(label=label, glue=glue), data=data())
    folder = flow.write_package(patched.composite.package, tmp_path / "patched")
    flow.check(folder)
    loaded = flow.load(folder)
    assert loaded.columns == CLASSES
    scores = flow.run(loaded, data())
    assert scores.shape == (80, 4)
    assert flow.evaluate(loaded, data(), timed=False).accuracy is not None
    if glue == "none":
        # Other columns are the weak model's own log-odds, and its own column the module's score, bit for bit.
        column = CLASSES.index(label)
        expected = odds(Session(weak.network).run(data().x))
        np.testing.assert_allclose(np.delete(scores, column, 1), np.delete(expected, column, 1), atol=1e-3)
        alone = flow.run(flow.compose([part(tmp_path / "again", label)]), data())
        np.testing.assert_allclose(scores[:, column], alone[:, 0], atol=1e-5)


def test_recall_never_falls_where_the_glue_is_chosen(tmp_path: Path) -> None:
    weak = Model.of(other_network(), columns=CLASSES)
    for label in CLASSES:
        found = flow.patch(weak, part(tmp_path / label, label), Options(label=label), data=data()).changes["validation"]
        assert found["after"]["recall"] >= found["before"]["recall"]


def test_a_real_module_helps_a_real_weak_model(tmp_path: Path, data_folder: Path) -> None:
    train, test = load_dataset("sample:cifar10-train", limit=600), load_dataset("sample:cifar10-test", limit=300)
    weak = flow.load(data_folder / "cifar10-lenet.onnx", columns=train.classes or ())
    parts, lock = flow.gather(["class:cat"])
    found = flow.patch(weak, parts[0], Options(label="cat"), data=train, test=test, lock=lock)
    before, after = found.changes["test"]["before"], found.changes["test"]["after"]
    assert after["f1"] > before["f1"] + 0.05
    assert after["others"] > before["others"] - 0.02
    manifest = found.composite.package.manifest
    assert manifest.dependencies[0].package == "modhub/resnet20-cifar10/cat"
    assert manifest.metrics["recall_after"].value == pytest.approx(after["recall"], abs=1e-6)
    flow.check(flow.write_package(found.composite.package, tmp_path / "patched"))


def test_inputs_that_differ_need_adapters_that_were_declared(tmp_path: Path) -> None:
    weak = Model.of(other_network((1, 12, 10)), columns=CLASSES)
    module = part(tmp_path)
    with pytest.raises(ComposeError, match="declare it: --adapt channels --adapt resize"):
        flow.patch(weak, module, Options(label="dog", glue="none"))
    found = flow.patch(weak, module, Options(label="dog", glue="none", adapters=("channels", "resize")))
    assert found.adapters == ("grey three times", "12x10 to 8x8, bilinear")
    x = np.random.default_rng(0).random((3, 1, 12, 10), dtype=np.float32)
    shown = torch.nn.functional.interpolate(
        torch.from_numpy(x).expand(-1, 3, -1, -1), size=(8, 8), mode="bilinear", antialias=True
    )
    alone = flow.compose([module])
    expected = Session(alone.network).run(shown.contiguous().numpy())[:, 0]
    np.testing.assert_allclose(Session(found.composite.network).run(x)[:, 1], expected, atol=1e-4)


@pytest.mark.parametrize(("before", "after"), [(8, 16), (16, 8), (28, 32), (5, 5), (7, 3)])
def test_resizing_is_that_of_torch(before: int, after: int) -> None:
    x = torch.rand(1, 1, before, before)
    matrix = torch.from_numpy(resize_matrix(before, after))
    expected = torch.nn.functional.interpolate(x, size=(after, after), mode="bilinear", antialias=True)
    assert torch.allclose(matrix @ x[0, 0] @ matrix.T, expected[0, 0], atol=1e-5)


def test_range_and_layout_are_adapted_exactly() -> None:
    import dataclasses

    network = pets_network()
    given = dataclasses.replace(network.input, layout="NHWC", shape=("batch", 8, 8, 3), range=(-1.0, 1.0))
    assert needed(given, network.input) == ("layout", "range")
    whole, words = adapted(network, given, ("layout", "range"))
    assert len(words) == 2
    x = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)
    shown = np.ascontiguousarray((2 * x - 1).transpose(0, 2, 3, 1))
    np.testing.assert_allclose(Session(whole).run(shown), Session(network).run(x), atol=1e-5)


def test_minmax_overwrites_one_probability() -> None:
    random = np.random.default_rng(0)
    seen = Seen(random.normal(size=(50, 3)), random.normal(size=50), np.arange(50) % 3)
    glue = fit("minmax", column=1, train=seen, validation=seen, width=3)
    own = seen.score[seen.labels == 1]
    expected = (seen.score - own.min()) / (own.max() - own.min())
    np.testing.assert_allclose(glue.apply(seen.logits, seen.score)[:, 1] / 4 + 0.5, expected)


def test_the_guard_gives_recall_back() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    logits = np.eye(3)[labels] * 2 + random.normal(size=(300, 3))
    # A score so low that the class would never be said.
    glue = replacing(0, width=3, kind="linear", reads="logits", scale=1.0, offset=-4.0)
    seen = Seen(logits, logits[:, 0], labels)
    guarded, (holds, others, _) = guard(glue, 0, seen)
    assert holds
    assert others
    assert outcome(guarded.apply(logits, seen.score), labels, 0)["recall"] >= outcome(logits, labels, 0)["recall"]


def test_what_cannot_be_patched(tmp_path: Path) -> None:
    weak, module = Model.of(other_network(), columns=CLASSES), part(tmp_path)
    with pytest.raises(UsageError, match="no class 'fish'"):
        flow.patch(weak, module, Options(label="fish", glue="none"))
    with pytest.raises(ComposeError, match="is fitted on data"):
        flow.patch(weak, module, Options(label="dog"))
    with pytest.raises(ComposeError, match="no glue 'tape'"):
        flow.patch(weak, module, Options(label="dog", glue="tape"))
    few = data(40).subset(["cat", "horse"])
    with pytest.raises(InvalidData, match="samples of the class"):
        flow.patch(weak, module, Options(label="dog"), data=few)
