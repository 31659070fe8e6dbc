from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from modhub.hub.cache import list_cache, prune_cache, verify_cache
from modhub.hub.client import Client
from modhub.hub.memory import MemoryBackend
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from tests.hub.packages import PETS, lock_of, module

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client that has fetched two releases."""
    found = Client({"it": MemoryBackend(remote=True)}, store=Store(tmp_path / "store"))
    found.publish(PETS, [module(), module("dog")])
    found.fetch(lock_of(found.snapshot(PETS)))
    return found


def test_an_empty_store_lists_nothing(tmp_path: Path) -> None:
    assert list_cache(Store(tmp_path / "none")) == ()
    assert verify_cache(Store(tmp_path / "none")) == (0, ())
    assert prune_cache(Store(tmp_path / "none")).files == 0


def test_every_file_is_listed_with_what_it_belongs_to(client: Client) -> None:
    found = {each.digest: each for each in list_cache(client.store)}
    assert sorted(found) == client.store.digests()
    weights = found[sha256(b"weights")]
    assert weights.size == 7
    assert weights.names == ("acme/pets/cat 1.0.0 delta.safetensors", "acme/pets/dog 1.0.0 delta.safetensors")
    assert time.time() - weights.since < 60
    assert sum(each.names == ("acme/pets modhub.json",) for each in found.values()) == 1


def test_what_is_damaged_is_found_dropped_and_fetched_again(client: Client) -> None:
    count = len(client.store.digests())
    assert verify_cache(client.store) == (count, ())
    client.store.path(sha256(b"weights")).write_bytes(b"weightz")
    assert verify_cache(client.store) == (count, (sha256(b"weights"),))
    assert verify_cache(client.store) == (count - 1, ())
    client.fetch(lock_of(client.snapshot(PETS)))
    assert verify_cache(client.store) == (count, ())


def test_pruning_deletes_what_is_unfinished_and_what_is_old(client: Client) -> None:
    store = client.store
    (store.root / "partial").mkdir()
    (store.root / "partial" / sha256(b"x")).write_bytes(b"half")
    before = store.digests()
    assert (prune_cache(store).files, prune_cache(store).size) == (0, 0)
    assert store.digests() == before
    old = time.time() - 100
    os.utime(store.path(sha256(b"weights")), (old, old))
    done = prune_cache(store, older_than_s=50)
    assert (done.files, done.size) == (1, 7)
    prune_cache(store, older_than_s=0)
    (index,) = store.digests()
    assert client.snapshot(PETS).digest == index
    assert Client(client.registries, store=store, offline=True).index(PETS).releases


def test_two_downloads_of_one_large_file_are_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    data = bytes(range(256)) * 10
    store.fill(sha256(data), size=len(data), source=lambda start: iter([data[start:1000], data[1000:]]))
    assert store.get(sha256(data), limit=len(data)) == data
    assert store.check(sha256(data), size=len(data))
    assert store.local(sha256(data), size=len(data)).path == store.path(sha256(data))
