"""The whole story through the public names: laws that hold from the first step to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import modhub
from modhub.hub.directory import DirectoryBackend
from tests.support.pets import CLASSES, COLLECTION, pets_arrays, pets_network, pets_packages, publish_pets
from tests.support.torch_models import plain_cnn

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def images() -> modhub.Dataset:
    """Labelled pets."""
    arrays = pets_arrays()
    return modhub.Dataset.of(arrays["x"], y=arrays["y"], classes=CLASSES, name="pets")


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return publish_pets(tmp_path / "modules", "1.0.0", "1.1.0")


@pytest.fixture
def workspace(registry: Path, tmp_path: Path) -> modhub.Workspace:
    return modhub.Workspace.open([str(registry)], store=tmp_path / "store")


def requirements(*names: str) -> list[str]:
    return [f"{COLLECTION}/{name}" for name in names]


def test_real_digits_from_the_classifier_to_the_composite(data_folder: Path, tmp_path: Path) -> None:
    digits = modhub.load_dataset(data_folder / "mnist-test-200.npz")
    model = modhub.load(data_folder / "mnist-mlp1-panrajan.onnx")
    seen: list[str] = []
    split = modhub.decompose(
        model,
        digits,
        options=modhub.DecomposeOptions(steps=2, keep=0.7),
        progress=lambda event: seen.append(event["step"]),
    )
    packages = modhub.pack(split, modhub.Release(license="MIT"))
    modhub.write_collection(packages, tmp_path / "digits")
    checked = modhub.check(tmp_path / "digits")
    assert [package.digest for package in checked] == [package.digest for package in packages]
    registry = str(tmp_path / "modules")
    modhub.publish(checked, to=registry, collection="acme/digits", store=tmp_path / "store")
    workspace = modhub.Workspace.open([registry], store=tmp_path / "store")
    assert len(modhub.search("digits", workspace=workspace).hits) == 11
    lock = modhub.resolve(["acme/digits/3", "class:7"], workspace=workspace)
    assert set(modhub.install(lock, workspace=workspace)) == {f"acme/digits/{name}" for name in ("base", "3", "7")}
    parts, text = modhub.gather(["acme/digits/3", "class:7"], workspace=workspace)
    assert modhub.Lock.from_toml(text) == lock
    composite = modhub.compose(parts, lock=text)
    modhub.write_package(composite.package, tmp_path / "pair")
    pair = modhub.load(tmp_path / "pair")
    assert (pair.columns, pair.calibrated) == (("3", "7"), True)
    np.testing.assert_array_equal(modhub.run(pair, digits), modhub.run(composite, digits))
    found = modhub.evaluate(pair, digits, timed=False)
    assert found.accuracy is not None
    assert found.samples == int(np.isin(digits.labels, [3, 7]).sum())
    assert seen[0] == "trunk"


def test_composed_scores_are_those_of_the_modules_alone(
    workspace: modhub.Workspace, images: modhub.Dataset, registry: Path
) -> None:
    parts, _ = modhub.gather(requirements("bird", "cat", "dog"), workspace=workspace)
    together = modhub.run(modhub.compose(parts), images)
    folder = registry / COLLECTION
    alone = [modhub.run(modhub.load(folder / name / "1.1.0"), images) for name in ("bird", "cat", "dog")]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))


def test_a_lock_survives_its_file_and_satisfies_its_requirements(workspace: modhub.Workspace) -> None:
    lock = modhub.resolve([f"{COLLECTION}/cat<1.1", "class:dog"], workspace=workspace)
    assert modhub.Lock.from_toml(lock.to_toml()) == lock
    assert lock.requirements == (f"{COLLECTION}/cat<1.1", "class:dog")
    assert {module.version for module in lock.modules} == {"1.0.0"}


def test_resolving_twice_gives_the_same_lock(workspace: modhub.Workspace) -> None:
    asked = requirements("cat", "dog")
    assert modhub.resolve(asked, workspace=workspace).to_toml() == modhub.resolve(asked, workspace=workspace).to_toml()


def test_an_old_lock_is_kept_and_policy_is_heard(workspace: modhub.Workspace) -> None:
    old = modhub.resolve([f"{COLLECTION}/cat==1.0.0"], workspace=workspace)
    kept = modhub.resolve(requirements("cat"), workspace=workspace, old=old)
    assert {module.version for module in kept.modules} == {"1.0.0"}
    strict = modhub.ResolveOptions(policy=modhub.Policy(licenses=frozenset({"Apache-2.0"})))
    with pytest.raises(modhub.ResolveError, match="MIT"):
        modhub.resolve(requirements("cat"), workspace=workspace, options=strict)


def test_the_second_install_reads_nothing_from_the_registry(
    workspace: modhub.Workspace, registry: Path, tmp_path: Path
) -> None:
    lock = modhub.resolve(requirements("cat"), workspace=workspace)
    first = modhub.install(lock, workspace=workspace)
    registry.rename(tmp_path / "elsewhere")
    again = modhub.install(lock, workspace=workspace)
    assert {name: package.digest for name, package in first.items()} == {n: p.digest for n, p in again.items()}


class Distant(DirectoryBackend):
    """A folder that is far away, and counts how often it is asked."""

    remote = True
    asked = 0

    def head(self, *arguments: Any, **named: Any) -> str | None:
        """Count and answer."""
        self.asked += 1
        return super().head(*arguments, **named)

    def read(self, *arguments: Any, **named: Any) -> bytes:
        """Count and answer."""
        self.asked += 1
        return super().read(*arguments, **named)


def test_offline_everything_works_that_was_seen_before(workspace: modhub.Workspace, registry: Path) -> None:
    from modhub.hub.client import Client

    backend, store = Distant(registry), workspace.client.store
    online = modhub.Workspace(Client({"far": backend}, store=store))
    lock = modhub.resolve(["class:cat"], workspace=online)
    modhub.install(lock, workspace=online)
    asked = backend.asked
    offline = modhub.Workspace(Client({"far": backend}, store=store, offline=True))
    assert modhub.resolve(["class:cat"], workspace=offline) == lock
    parts, _ = modhub.gather(["class:cat"], workspace=offline)
    assert modhub.compose(parts).package.manifest.kind == "composite"
    assert modhub.info(f"{COLLECTION}/cat", workspace=offline).package == "cat"
    assert backend.asked == asked


def test_one_resolve_asks_for_each_index_once(workspace: modhub.Workspace, registry: Path) -> None:
    from modhub.hub.client import Client

    backend = Distant(registry)
    far = modhub.Workspace(Client({"far": backend}, store=workspace.client.store))
    modhub.resolve(["class:cat", "class:dog", *requirements("bird", "horse")], workspace=far)
    assert backend.asked <= 2


def test_the_first_registry_that_has_a_collection_decides(registry: Path, tmp_path: Path) -> None:
    newer = publish_pets(tmp_path / "imposter", "1.0.0", "1.0.1", "9.9.9")
    workspace = modhub.Workspace.open([str(registry), str(newer)], store=tmp_path / "own")
    lock = modhub.resolve(requirements("cat"), workspace=workspace)
    assert {module.version for module in lock.modules} == {"1.1.0"}


def test_a_broken_collection_does_not_hide_the_others(registry: Path, tmp_path: Path) -> None:
    publish_pets(registry, "1.0.0", collection="other/pets")
    for index in (registry / "other/pets").rglob("*.json"):
        if index.parent.name != "1.0.0":
            index.write_bytes(b"{}")
    workspace = modhub.Workspace.open([str(registry)], store=tmp_path / "own")
    lock = modhub.resolve(["class:cat"], workspace=workspace)
    assert {module.name for module in lock.modules} == {f"{COLLECTION}/base", f"{COLLECTION}/cat"}
    with pytest.raises(modhub.ResolveError, match="skipped other/pets, which cannot be read"):
        modhub.resolve(["class:unicorn"], workspace=workspace)


def test_a_composite_is_a_package_like_any_other(workspace: modhub.Workspace, registry: Path) -> None:
    parts, text = modhub.gather(requirements("cat", "dog"), workspace=workspace)
    composite = modhub.compose(parts, name="cat-and-dog", lock=text)
    modhub.publish([composite.package], to=str(registry), collection="acme/made", store=workspace.client.store.root)
    lock = modhub.resolve(["acme/made/cat-and-dog"], workspace=workspace)
    package = modhub.install(lock, workspace=workspace)["acme/made/cat-and-dog"]
    assert package.read("model.onnx") == composite.package.read("model.onnx")
    found = modhub.info(f"{COLLECTION}/cat", workspace=workspace)
    assert found.dependents == ("acme/made/cat-and-dog",)


def test_whatever_scores_becomes_a_trainable_torch_module(registry: Path, images: modhub.Dataset) -> None:
    model = modhub.load(registry / COLLECTION / "cat" / "1.0.0")
    module = model.to_torch()
    assert any(parameter.requires_grad for parameter in module.parameters())
    scores = module(torch.from_numpy(images.x)).detach().numpy()
    np.testing.assert_allclose(scores, modhub.run(model, images), atol=1e-4)
    np.testing.assert_allclose(modhub.run(model, images, engine="torch"), scores, atol=1e-6)


def test_a_torch_module_loads_by_the_shape_of_its_input() -> None:
    net = plain_cnn()
    shape = next(iter(net.parameters())).shape[1], 8, 8
    model = modhub.load(net, input_shape=shape)
    assert model.columns[0] == "class-0"
    assert model.network.input.shape[1:] == shape


def test_a_model_that_ships_with_modhub_loads_by_its_name() -> None:
    assert len(modhub.load("sample:cifar10-resnet20").columns) == 10
    with pytest.raises(modhub.NotFound, match=r"cifar10-resnet20\.onnx"):
        modhub.load("sample:nothing")


def test_names_for_columns_must_be_as_many() -> None:
    with pytest.raises(modhub.UsageError, match="2 class names, and the network has 10 classes"):
        modhub.load("sample:cifar10-resnet20", columns=("a", "b"))


def test_packing_names_the_classes_of_the_parent_as_its_modules() -> None:
    base, *modules = pets_packages()
    assert [label.name for label in base.manifest.classes] == [module.name for module in modules]


def test_an_unnamed_base_is_measured_by_the_names_of_the_data(images: modhub.Dataset) -> None:
    found = modhub.evaluate(pets_network(), images, timed=False)
    assert found.columns == CLASSES


def test_an_engine_that_does_not_exist(images: modhub.Dataset) -> None:
    with pytest.raises(modhub.UsageError, match="there is no engine 'abacus'; the engines are onnxruntime, torch"):
        modhub.run(pets_network(), images, engine="abacus")
