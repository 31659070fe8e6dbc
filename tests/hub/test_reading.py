"""Reading collections: what is remembered, what is noticed, what works offline."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from modhub.errors import FormatError, HubError, IntegrityError, NotFound
from modhub.hub.backend import INDEX_FILE
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.memory import MemoryBackend
from modhub.hub.search import Query
from modhub.hub.store import Store
from modhub.spec.index import Index, Release
from modhub.spec.names import CollectionId
from tests.hub.packages import PETS, CountingBackend, module

if TYPE_CHECKING:
    from pathlib import Path

CARS = CollectionId("acme", "cars")
CAT = PETS.package("cat")


class DeadBackend(MemoryBackend):
    """A registry that does not answer."""

    def head(self, collection: CollectionId) -> str | None:
        raise HubError(f"cannot reach {self.name} for {collection}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
def client(backend: CountingBackend, store: Store) -> Client:
    return Client({"test": backend}, store=store)


def rewrite(backend: MemoryBackend, index: Index) -> None:
    """Commit an index as a server does that was told to lie."""
    backend.commit(PETS, {INDEX_FILE: index.to_json()}, parent=backend.head(PETS), message="")


def test_an_index_is_read_once_per_revision(client: Client, backend: CountingBackend, store: Store) -> None:
    client.publish(PETS, [module()])
    backend.asked.clear()
    for _ in range(3):
        client.index(PETS)
    assert backend.asked == {"head": 3}
    Client({"test": backend}, store=Store(store.root.parent / "another")).index(PETS)
    assert backend.asked["read"] == 1


def test_a_release_is_looked_up(client: Client) -> None:
    client.publish(PETS, [module()])
    assert client.release(CAT, version="1.0.0").summary == "Scores cat"
    with pytest.raises(NotFound, match=r"memory: has no release acme/pets/cat 3\.0\.0"):
        client.release(CAT, version="3.0.0")
    with pytest.raises(NotFound, match="memory: has no collection acme/cars"):
        client.index(CARS)


def test_a_broken_index_says_where(client: Client, backend: CountingBackend) -> None:
    backend.commit(PETS, {INDEX_FILE: b'{"format": "modhub/index@2"}'}, parent=None, message="")
    with pytest.raises(FormatError, match=r"memory: acme/pets modhub\.json: format: expected modhub/index@1"):
        client.index(PETS)


def test_a_name_is_looked_up_in_the_registry_asked_and_in_no_other(store: Store) -> None:
    ours, theirs = MemoryBackend("memory:ours"), MemoryBackend("memory:theirs")
    client = Client({"ours": ours, "theirs": theirs}, store=store)
    client.publish(PETS, [module(version="9.0.0")], registry="theirs")
    with pytest.raises(NotFound):
        client.index(PETS)
    client.publish(PETS, [module()])
    assert [release.version for release in client.index(PETS).releases] == ["1.0.0"]
    assert [release.version for release in client.index(PETS, registry="theirs").releases] == ["9.0.0"]
    assert client.index(PETS, registry="memory:theirs") == client.index(PETS, registry="theirs")
    with pytest.raises(NotFound, match="no registry 'others' here; known are ours, theirs"):
        client.index(PETS, registry="others")


def test_without_registries_nothing_is_found(store: Store) -> None:
    with pytest.raises(NotFound, match="known are none"):
        Client({}, store=store).index(PETS)


def edited(release: Release) -> Release:
    """Return the same release with other weights."""
    forms = {"standalone": tuple(dataclasses.replace(file, sha256="0" * 64) for file in release.forms["standalone"])}
    return dataclasses.replace(release, forms=forms)


def test_a_registry_that_goes_back_is_noticed(client: Client, backend: CountingBackend) -> None:
    client.publish(PETS, [module()])
    older = client.index(PETS)
    client.yank(CAT, version="1.0.0", reason="wrong labels")
    rewrite(backend, older)
    with pytest.raises(IntegrityError, match=r"history of acme/pets in memory: is not the one seen before: revision"):
        client.index(PETS)


def test_a_release_that_is_changed_or_missing_is_noticed(client: Client, backend: CountingBackend) -> None:
    client.publish(PETS, [module()])
    now = client.snapshot(PETS)
    later = dataclasses.replace(now.index, revision=2, previous=now.digest)
    rewrite(backend, dataclasses.replace(later, releases=tuple(map(edited, later.releases))))
    with pytest.raises(IntegrityError, match=r"cat 1\.0\.0 was published and is changed"):
        client.index(PETS)
    rewrite(backend, dataclasses.replace(later, releases=()))
    with pytest.raises(IntegrityError, match=r"cat 1\.0\.0 was published and is missing"):
        client.index(PETS)


def test_a_revision_that_does_not_continue_the_last_is_noticed(client: Client, backend: CountingBackend) -> None:
    client.publish(PETS, [module()])
    rewrite(backend, dataclasses.replace(client.index(PETS), revision=2, previous="0" * 64))
    with pytest.raises(IntegrityError, match="revision 2 of acme/pets in memory: does not continue"):
        client.index(PETS)


def test_a_collection_that_was_made_anew_can_be_trusted_again(client: Client, backend: CountingBackend) -> None:
    client.publish(PETS, [module()])
    rewrite(backend, Index())
    with pytest.raises(IntegrityError):
        client.index(PETS)
    client.forget(PETS)
    assert client.index(PETS).releases == ()


def test_a_registry_that_is_replaced_as_a_whole_has_no_history(tmp_path: Path, store: Store) -> None:
    for version in ("2.0.0", "1.0.0"):
        backend = DirectoryBackend(tmp_path / version, name="seed:", append_only=False)
        publisher = Client({"seed": backend}, store=Store(tmp_path / "publisher" / version))
        publisher.publish(PETS, [module(version=version)])
        index = Client({"seed": backend}, store=store).index(PETS)
        assert [release.version for release in index.releases] == [version]


def test_a_registry_in_memory_is_not_taken_for_that_of_another_process(store: Store) -> None:
    for version in ("2.0.0", "1.0.0"):
        client = Client({"test": MemoryBackend()}, store=store)
        client.publish(PETS, [module(version=version)])
        assert [release.version for release in client.index(PETS).releases] == [version]


def test_a_damaged_memory_is_made_again(client: Client, store: Store) -> None:
    client.publish(PETS, [module()])
    for path in (store.root / "seen").iterdir():
        path.write_bytes(b"{")
    assert len(client.index(PETS).releases) == 1
    for digest in store.digests():
        store.path(digest).write_bytes(b"{")
    assert len(client.index(PETS).releases) == 1


def test_offline_a_remote_registry_is_as_it_was_last_seen(store: Store) -> None:
    backend = CountingBackend(remote=True)
    online = Client({"test": backend}, store=store)
    online.publish(PETS, [module()])
    backend.asked.clear()
    offline = Client({"test": backend}, store=store, offline=True)
    assert offline.collections() == [PETS]
    assert offline.snapshot(PETS).index.revision == 1
    assert [hit.name for hit in offline.search(Query()).hits] == ["acme/pets/cat"]
    assert backend.asked == {}
    with pytest.raises(NotFound, match="acme/cars was never read from memory:, and this is offline"):
        offline.index(CARS)


def test_offline_a_local_registry_is_read_as_ever(client: Client, store: Store, backend: CountingBackend) -> None:
    client.publish(PETS, [module()])
    offline = Client({"test": backend}, store=Store(store.root.parent / "empty"), offline=True)
    assert len(offline.index(PETS).releases) == 1


def test_offline_with_an_empty_store_there_are_no_collections(store: Store) -> None:
    assert Client({"test": MemoryBackend(remote=True)}, store=store, offline=True).collections() == []


def test_collections_come_sorted(client: Client) -> None:
    for collection in (PETS, CARS):
        client.publish(collection, [module()])
    assert client.collections() == [CARS, PETS]


def test_a_collection_that_cannot_be_read_does_not_hide_the_others(client: Client, backend: CountingBackend) -> None:
    client.publish(PETS, [module()])
    backend.commit(CARS, {INDEX_FILE: b"broken"}, parent=None, message="")
    result = client.search(Query())
    assert [hit.name for hit in result.hits] == ["acme/pets/cat"]
    assert list(result.skipped) == ["memory: acme/cars"]
    assert "not JSON" in str(result.skipped["memory: acme/cars"])


def test_a_registry_that_does_not_answer_is_an_error(store: Store) -> None:
    with pytest.raises(HubError, match="cannot reach memory:"):
        Client({"test": DeadBackend()}, store=store).index(PETS)
