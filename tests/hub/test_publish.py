from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from modhub.errors import CommitConflict, HubError, InvalidPackage, NotFound, UsageError, VersionTaken
from modhub.hub import client as client_module
from modhub.hub.backend import CARD_FILE, INDEX_FILE
from modhub.hub.client import Client
from modhub.hub.memory import MemoryBackend
from modhub.hub.store import Store
from modhub.package.package import Package
from modhub.spec.index import MANIFEST_FILE, Index
from tests.hub.packages import NOWHERE, PETS, base_package, check_whole, dependency_on, module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from modhub.fsops import Content
    from modhub.spec.names import CollectionId

CAT = PETS.package("cat")


class BusyBackend(MemoryBackend):
    """A registry where somebody else publishes just before each of our first commits."""

    def __init__(self, others: list[Package]) -> None:
        super().__init__()
        self.others = others

    def commit(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        if self.others:
            other = self.others.pop()
            quiet = MemoryBackend()
            quiet._histories = self._histories
            Client({"same": quiet}, store=Store(NOWHERE)).publish(collection, [other])
        return super().commit(collection, changes, parent=parent, message=message)


class ForgetfulBackend(MemoryBackend):
    """A registry whose answer to a commit is lost on the way."""

    def commit(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        super().commit(collection, changes, parent=parent, message=message)
        raise HubError("connection lost")


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def open_client(tmp_path: Path) -> Callable[[MemoryBackend], Client]:
    return lambda backend: Client({"test": backend}, store=Store(tmp_path / "store"))


@pytest.fixture
def client(backend: MemoryBackend, open_client: Callable[[MemoryBackend], Client]) -> Client:
    return open_client(backend)


def test_many_packages_are_one_commit(client: Client, backend: MemoryBackend) -> None:
    base = base_package()
    packages = [base, module(base=base), module("dog", base=base)]
    result = client.publish(PETS, packages, message="First")
    assert result.revision == backend.head(PETS)
    assert client.index(PETS).revision == 1
    assert [release.name for release in result.published] == ["base", "cat", "dog"]
    assert result.size == sum(package.size for package in packages)
    assert not result.already
    assert len(check_whole(backend).releases) == 3


def test_the_same_bytes_again_are_a_success_without_a_commit(client: Client) -> None:
    client.publish(PETS, [module()])
    result = client.publish(PETS, [module()])
    assert result.already
    assert result.published == ()
    assert result.unchanged == client.index(PETS).releases
    assert result.size == 0
    assert client.index(PETS).revision == 1


def test_other_bytes_under_a_version_are_refused(client: Client, backend: MemoryBackend) -> None:
    client.publish(PETS, [module()])
    with pytest.raises(VersionTaken, match=r"cat 1\.0\.0 is already published with other content"):
        client.publish(PETS, [module("dog"), module(content=b"other")])
    assert len(check_whole(backend).releases) == 1


def test_what_is_new_joins_what_is_there(client: Client) -> None:
    client.publish(PETS, [module()])
    result = client.publish(PETS, [module(), module(version="1.1.0")])
    assert [release.version for release in result.published] == ["1.1.0"]
    assert [release.version for release in result.unchanged] == ["1.0.0"]
    assert [release.version for release in client.index(PETS).find("cat")] == ["1.0.0", "1.1.0"]


def test_a_dry_run_says_the_same_and_changes_nothing(client: Client, backend: MemoryBackend) -> None:
    result = client.publish(PETS, [module()], dry_run=True)
    assert (result.dry_run, result.revision, len(result.published)) == (True, None, 1)
    assert backend.head(PETS) is None
    client.publish(PETS, [module()])
    assert client.publish(PETS, [module()], dry_run=True).already
    with pytest.raises(VersionTaken):
        client.publish(PETS, [module(content=b"other")], dry_run=True)


def test_revisions_form_a_chain(client: Client, backend: MemoryBackend) -> None:
    client.publish(PETS, [module()])
    first = client.snapshot(PETS)
    client.publish(PETS, [module(version="1.1.0")])
    second = client.snapshot(PETS)
    assert (first.index.revision, second.index.revision) == (1, 2)
    assert second.index.previous == first.digest
    assert CARD_FILE in backend._snapshot(PETS, second.revision)


def test_a_lost_race_is_tried_again_when_nothing_clashes(open_client: Callable[[MemoryBackend], Client]) -> None:
    backend = BusyBackend([module("dog"), module("bird"), module("fish")])
    result = open_client(backend).publish(PETS, [module()])
    assert check_whole(backend).revision == 4
    assert result.revision == backend.head(PETS)
    assert {release.name for release in check_whole(backend).releases} == {"bird", "cat", "dog", "fish"}


def test_a_lost_race_for_the_same_version_is_lost(open_client: Callable[[MemoryBackend], Client]) -> None:
    backend = BusyBackend([module(content=b"other")])
    with pytest.raises(VersionTaken):
        open_client(backend).publish(PETS, [module()])
    assert check_whole(backend).revision == 1


def test_a_lost_race_against_the_same_bytes_is_won(open_client: Callable[[MemoryBackend], Client]) -> None:
    backend = BusyBackend([module()])
    assert open_client(backend).publish(PETS, [module()]).already


def test_a_race_that_is_lost_forever_ends(
    open_client: Callable[[MemoryBackend], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ATTEMPTS", 3)
    backend = BusyBackend([module(f"dog{number}") for number in range(5)])
    with pytest.raises(CommitConflict, match="changed during each of 3 attempts"):
        open_client(backend).publish(PETS, [module()])


def test_a_publish_whose_answer_was_lost_can_be_repeated(open_client: Callable[[MemoryBackend], Client]) -> None:
    client = open_client(ForgetfulBackend())
    with pytest.raises(HubError, match="connection lost"):
        client.publish(PETS, [module()])
    assert client.publish(PETS, [module()]).already


def altered(package: Package, **files: bytes | None) -> Package:
    """Return a package with files added, changed or (None) taken away."""
    changed = {**package.files, **{path.replace("__", "."): data for path, data in files.items()}}
    return Package(manifest=package.manifest, files={path: data for path, data in changed.items() if data is not None})


@pytest.mark.parametrize(
    ("package", "problem"),
    [
        (altered(module(), model__onnx=b"other"), "cat/1.0.0/model.onnx: has other content than the manifest says"),
        (altered(module(), model__onnx=None), "cat/1.0.0/model.onnx: is missing"),
        (altered(module(), notes__txt=b""), "cat/1.0.0/notes.txt: is not named by the manifest"),
        (altered(module(), module__json=None), "cat/1.0.0/module.json: is missing"),
        (altered(module(), module__json=b"{}"), "cat/1.0.0/module.json: format: is missing"),
        (
            altered(module(), module__json=module("dog").read(MANIFEST_FILE)),
            "cat/1.0.0/module.json: is not the manifest of the package",
        ),
    ],
)
def test_a_package_that_contradicts_its_manifest_is_refused(
    client: Client, backend: MemoryBackend, package: Package, problem: str
) -> None:
    with pytest.raises(InvalidPackage) as caught:
        client.publish(PETS, [module("dog"), package])
    assert [str(each) for each in caught.value.problems] == [problem]
    assert backend.head(PETS) is None


def test_all_problems_are_reported_together(client: Client) -> None:
    broken = altered(module(), model__onnx=None, notes__txt=b"", delta__safetensors=b"")
    with pytest.raises(InvalidPackage, match="4 problems"):
        client.publish(PETS, [broken, module("dog"), module("dog", content=b"other")])


def test_a_module_needs_its_base(client: Client) -> None:
    base = base_package()
    with pytest.raises(InvalidPackage, match=r"cat/1\.0\.0: needs base 1\.0\.0, which is not in the collection"):
        client.publish(PETS, [module(base=base)])
    client.publish(PETS, [base])
    client.publish(PETS, [module(base=base)])
    with pytest.raises(InvalidPackage, match=r"needs another base 1\.0\.0 than the one in the collection"):
        client.publish(PETS, [module("dog", base=base_package(content=b"other parent"))])


def test_a_dependency_on_another_collection_is_left_to_the_resolver(client: Client) -> None:
    foreign = dataclasses.replace(dependency_on(base_package()), package="acme/cars/base", version=">=1")
    manifest = dataclasses.replace(module().manifest, dependencies=(foreign,))
    files = {**module().files, MANIFEST_FILE: manifest.to_json()}
    assert client.publish(PETS, [Package(manifest=manifest, files=files)]).published


def test_a_yanked_release_stays_and_its_version_is_never_given_again(client: Client, backend: MemoryBackend) -> None:
    client.publish(PETS, [module()])
    client.yank(CAT, version="1.0.0", reason="wrong labels")
    assert client.release(CAT, version="1.0.0").yanked == "wrong labels"
    with pytest.raises(VersionTaken):
        client.publish(PETS, [module(content=b"other")])
    assert client.publish(PETS, [module()]).already
    assert client.release(CAT, version="1.0.0").yanked == "wrong labels"
    assert len(check_whole(backend).releases) == 1


def test_marks_are_set_and_taken_back(client: Client, backend: MemoryBackend) -> None:
    client.publish(PETS, [module()])
    before = client.index(PETS).releases
    client.yank(CAT, version="1.0.0", reason="wrong labels")
    client.yank(CAT, version="1.0.0", reason="wrong labels")
    assert check_whole(backend).revision == 2, "marking twice is one commit"
    client.unyank(CAT, version="1.0.0")
    client.deprecate(CAT, version="1.0.0", reason="use 2.0.0")
    assert client.release(CAT, version="1.0.0").deprecated == "use 2.0.0"
    client.deprecate(CAT, version="1.0.0", reason=None)
    assert client.index(PETS).releases == before


def test_marking_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match=r"no release cat 1\.0\.0"):
        client.yank(CAT, version="1.0.0", reason="wrong")
    client.publish(PETS, [module()])
    with pytest.raises(NotFound, match=r"no release cat 2\.0\.0"):
        client.deprecate(CAT, version="2.0.0", reason="old")


def test_a_mark_needs_a_reason(client: Client) -> None:
    client.publish(PETS, [module()])
    with pytest.raises(UsageError, match="a reason is needed"):
        client.yank(CAT, version="1.0.0", reason=" ")
    with pytest.raises(UsageError, match="a reason is needed"):
        client.deprecate(CAT, version="1.0.0", reason="")


def test_offline_a_remote_registry_cannot_be_written(tmp_path: Path) -> None:
    backend = MemoryBackend(remote=True)
    client = Client({"test": backend}, store=Store(tmp_path), offline=True)
    with pytest.raises(HubError, match="cannot be written offline"):
        client.publish(PETS, [module()])
    assert Client({"test": MemoryBackend()}, store=Store(tmp_path), offline=True).publish(PETS, [module()]).published


def test_an_index_keeps_what_this_version_does_not_know(client: Client, backend: MemoryBackend) -> None:
    client.publish(PETS, [module()])
    document = client.index(PETS).to_dict()
    extended = Index.from_dict({**document, "revision": 2, "previous": client.snapshot(PETS).digest, "x-new": [1]})
    backend.commit(PETS, {INDEX_FILE: extended.to_json()}, parent=backend.head(PETS), message="")
    client.publish(PETS, [module("dog")])
    assert client.index(PETS).extra == {"x-new": [1]}
