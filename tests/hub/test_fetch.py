from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from modhub.errors import FormatError, IntegrityError, NotFound
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import MANIFEST_FILE
from tests.hub.packages import NOWHERE, PETS, CountingBackend, base_package, lock_of, locked, module

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.hub.memory import MemoryBackend
    from modhub.spec.lock import LockedModule


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def backend() -> CountingBackend:
    backend = CountingBackend(remote=True)
    base = base_package()
    publisher = Client({"test": backend}, store=Store(NOWHERE))
    publisher.publish(PETS, [base, module(base=base), module("dog", base=base)])
    backend.asked.clear()
    return backend


@pytest.fixture
def client(backend: CountingBackend, store: Store) -> Client:
    return Client({"test": backend}, store=store)


@pytest.fixture
def cat(client: Client) -> LockedModule:
    snapshot = client.snapshot(PETS)
    return locked(snapshot.index.find("cat")[0], registry=snapshot.registry, revision=snapshot.revision)


def tamper(backend: MemoryBackend, path: str, data: bytes) -> None:
    """Change a published file behind everybody's back."""
    for snapshot in backend._histories[PETS]:
        snapshot[path] = data


def test_what_is_fetched_is_what_was_published(client: Client) -> None:
    found = client.fetch(lock_of(client.snapshot(PETS)))
    base = base_package()
    packages = {"base": base, "cat": module(base=base), "dog": module("dog", base=base)}
    assert found == {f"acme/pets/{name}": dict(package.files) for name, package in packages.items()}


def test_a_second_install_asks_the_registry_nothing(client: Client, backend: CountingBackend) -> None:
    lock = lock_of(client.snapshot(PETS))
    first = client.fetch(lock)
    backend.asked.clear()
    assert client.fetch(lock) == first
    assert backend.asked == {}


def test_equal_files_of_different_releases_are_fetched_once(client: Client, backend: CountingBackend) -> None:
    lock = lock_of(client.snapshot(PETS))
    backend.asked.clear()
    client.fetch(lock)
    distinct = {module.manifest_sha256 for module in lock.modules} | {
        file.sha256 for module in lock.modules for file in module.files
    }
    assert backend.asked == {"read": len(distinct)}


def test_offline_the_store_is_enough(client: Client, backend: CountingBackend, store: Store) -> None:
    lock = lock_of(client.snapshot(PETS))
    first = client.fetch(lock)
    backend.asked.clear()
    assert Client({"test": backend}, store=store, offline=True).fetch(lock) == first
    assert backend.asked == {}


def test_offline_what_was_never_fetched_is_not_found(cat: LockedModule, backend: CountingBackend, store: Store) -> None:
    with pytest.raises(NotFound, match=r"module\.json of acme/pets/cat 1\.0\.0 in memory: is not in the store"):
        Client({"test": backend}, store=store, offline=True).fetch_module(cat)


def test_a_damaged_store_is_found_and_filled_again(
    client: Client, cat: LockedModule, backend: CountingBackend, store: Store
) -> None:
    first = client.fetch_module(cat)
    for digest in store.digests():
        store.path(digest).write_bytes(b"damaged")
    assert client.fetch_module(cat) == first
    store.path(cat.files[0].sha256).write_bytes(b"damaged")
    with pytest.raises(
        IntegrityError, match=r"the stored copy of delta\.safetensors .* was damaged, and this is offline"
    ):
        Client({"test": backend}, store=store, offline=True).fetch_module(cat)
    with pytest.raises(NotFound):
        Client({"test": backend}, store=store, offline=True).fetch_module(cat)


@pytest.mark.parametrize("data", [b"weightz", b"", b"weights and more", b"weight"])
def test_a_file_that_was_changed_is_never_stored(
    client: Client, cat: LockedModule, backend: CountingBackend, store: Store, data: bytes
) -> None:
    tamper(backend, "cat/1.0.0/delta.safetensors", data)
    with pytest.raises(IntegrityError, match=r"delta\.safetensors"):
        client.fetch_module(cat)
    assert not store.has(sha256(data))


def test_a_manifest_that_was_changed_is_refused(client: Client, cat: LockedModule, backend: CountingBackend) -> None:
    tamper(backend, "cat/1.0.0/module.json", module("dog", base=base_package()).read(MANIFEST_FILE))
    with pytest.raises(IntegrityError, match=r"module\.json of acme/pets/cat 1\.0\.0 in memory: is not the file"):
        client.fetch_module(cat)


def test_a_manifest_beyond_its_limit_is_not_read(client: Client, cat: LockedModule, backend: CountingBackend) -> None:
    tamper(backend, "cat/1.0.0/module.json", bytes(2 << 20))
    with pytest.raises(IntegrityError, match="holds more than the 1,048,576 bytes expected"):
        client.fetch_module(cat)


def test_a_file_that_is_gone_is_not_found(client: Client, cat: LockedModule, backend: CountingBackend) -> None:
    del backend._histories[PETS][0]["cat/1.0.0/model.onnx"]
    with pytest.raises(NotFound, match=r"acme/pets in memory: has no file 'cat/1\.0\.0/model\.onnx'"):
        client.fetch_module(cat)


def test_a_manifest_is_not_replayed_as_another_release(
    client: Client, cat: LockedModule, backend: CountingBackend
) -> None:
    replayed = dataclasses.replace(cat, version="2.0.0")
    tamper(backend, "cat/2.0.0/module.json", module(base=base_package()).read(MANIFEST_FILE))
    with pytest.raises(IntegrityError, match=r"is the manifest of cat 1\.0\.0"):
        client.fetch_module(replayed)
    as_dog = dataclasses.replace(cat, name="acme/pets/dog")
    with pytest.raises(IntegrityError, match=r"of acme/pets/dog 1\.0\.0 in memory: is the manifest of cat 1\.0\.0"):
        client.fetch_module(as_dog)


def test_a_lock_that_names_other_files_than_the_manifest_is_refused(client: Client, cat: LockedModule) -> None:
    client.fetch_module(cat)
    evil = FileRecord.of("delta.safetensors", data=b"evil")
    for files in (cat.files[:1], (*cat.files[1:], evil)):
        with pytest.raises(IntegrityError, match="names other files than the lock, for the form 'standalone'"):
            client.fetch_module(dataclasses.replace(cat, files=files))
    with pytest.raises(IntegrityError, match="for the form 'delta'"):
        client.fetch_module(dataclasses.replace(cat, form="delta"))


def test_a_manifest_that_is_none_says_where(client: Client, cat: LockedModule, backend: CountingBackend) -> None:
    tamper(backend, "cat/1.0.0/module.json", b"{}")
    with pytest.raises(FormatError, match=r"module\.json of acme/pets/cat .*: format: is missing"):
        client.fetch_module(dataclasses.replace(cat, manifest_sha256=sha256(b"{}")))


def test_a_yanked_release_is_still_fetched_by_its_lock(client: Client, cat: LockedModule) -> None:
    client.yank(cat.package, version="1.0.0", reason="wrong labels")
    assert MANIFEST_FILE in client.fetch_module(cat)


def test_a_lock_that_names_another_registry_is_refused(client: Client, cat: LockedModule) -> None:
    elsewhere = dataclasses.replace(cat, registry="https://evil.example")
    with pytest.raises(NotFound, match=r"the registry 'https://evil\.example', which is none of those in use: memory:"):
        client.fetch_module(elsewhere)


def test_a_lock_names_registries_by_address_only(client: Client, cat: LockedModule) -> None:
    with pytest.raises(NotFound, match="the registry 'test', which is none of those in use"):
        client.fetch_module(dataclasses.replace(cat, registry="test"))


def test_the_registry_of_the_lock_is_asked_and_no_other(
    cat: LockedModule, backend: CountingBackend, store: Store
) -> None:
    other = CountingBackend("memory:other")
    Client({"other": other, "test": backend}, store=store).fetch_module(cat)
    assert other.asked == {}


def test_a_folder_that_was_edited_is_noticed(tmp_path: Path, store: Store) -> None:
    backend = DirectoryBackend(tmp_path / "registry")
    client = Client({"folder": backend}, store=store)
    client.publish(PETS, [module()])
    cat = locked(client.index(PETS).releases[0], registry=backend.name)
    (backend.root / "acme/pets/cat/1.0.0/delta.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(IntegrityError, match=r"is not the file that was published: sha256 [0-9a-f]{64}, expected"):
        client.fetch_module(cat)
