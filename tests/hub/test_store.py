from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from modhub.errors import StorageError
from modhub.hub.store import Store
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_was_put_is_found_by_its_digest(store: Store) -> None:
    assert store.put(b"data") == sha256(b"data")
    assert store.get(sha256(b"data"), limit=4) == b"data"
    assert store.has(sha256(b"data"))
    assert store.digests() == [sha256(b"data")]


def test_what_was_never_put_is_absent(store: Store) -> None:
    assert store.get(sha256(b"data"), limit=4) is None
    assert not store.has(sha256(b"data"))
    assert store.digests() == []


def test_the_empty_file_is_a_file(store: Store) -> None:
    assert store.get(store.put(b""), limit=0) == b""


def damage(data: bytes, kind: str, chance: random.Random) -> bytes:
    """Return bytes with one bit flipped, cut, zeroed or grown."""
    place = chance.randrange(len(data))
    if kind == "bit":
        return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
    return {"cut": data[:place], "zeroed": bytes(len(data)), "grown": data + b"\0"}[kind]


@pytest.mark.parametrize("kind", ["bit", "cut", "zeroed", "grown"])
def test_a_damaged_entry_is_dropped_and_never_served(store: Store, kind: str) -> None:
    chance = random.Random(kind)  # noqa: S311  No secret.
    for _ in range(25):
        data = chance.randbytes(chance.randrange(1, 2000)) + b"\1"
        digest = store.put(data)
        path = store.path(digest)
        path.write_bytes(damage(data, kind, chance))
        assert store.get(digest, limit=len(data)) is None
        assert not path.exists()
        store.put(data)
        assert store.get(digest, limit=len(data)) == data


def test_putting_again_heals(store: Store) -> None:
    digest = store.put(b"data")
    store.path(digest).write_bytes(b"dama")
    store.put(b"data")
    assert store.get(digest, limit=4) == b"data"


def test_a_link_or_folder_in_the_place_of_an_entry_is_no_entry(store: Store, tmp_path: Path) -> None:
    digest = store.put(b"data")
    (tmp_path / "outside").write_bytes(b"data")
    store.path(digest).unlink()
    store.path(digest).symlink_to(tmp_path / "outside")
    assert store.get(digest, limit=4) is None
    assert (tmp_path / "outside").exists()
    store.path(digest).mkdir()
    assert store.get(digest, limit=4) is None
    assert store.get(store.put(b"data"), limit=4) == b"data"


def test_many_may_put_and_get_the_same_at_once(store: Store) -> None:
    data = b"x" * 100_000
    found: list[bytes | None] = []

    def work() -> None:
        for _ in range(10):
            store.put(data)
            found.append(store.get(sha256(data), limit=len(data)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {data}


def test_a_store_in_the_place_of_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Store(tmp_path / "file")
    with pytest.raises(StorageError, match="file"):
        store.put(b"data")
    assert store.get(sha256(b"data"), limit=4) is None
    with store.claim(sha256(b"data")):
        pass


def test_the_store_of_a_user_lies_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Store.of_user().root.name == "modhub"


def test_leftovers_are_pruned(store: Store) -> None:
    store.put(b"data")
    (store.root / "files" / ".tmp-0123").write_bytes(b"half")
    assert store.prune(older_than_s=-60) == 1
    assert store.digests() == [sha256(b"data")]
