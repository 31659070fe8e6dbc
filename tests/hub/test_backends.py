"""What every backend promises, tried on each."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

import pytest

from modhub.errors import CommitConflict, IntegrityError, NotFound
from modhub.fsops import LocalFile
from modhub.hub.backend import INDEX_FILE, Backend
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.memory import MemoryBackend
from modhub.hub.publication import commit_changes, release_of
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.names import CollectionId
from tests.hub.packages import NOWHERE, PETS, check_whole, module
from tests.hub.served import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from modhub.fsops import Content
    from modhub.package.package import Package

    Make: TypeAlias = Callable[[Path], AbstractContextManager[Backend]]

CARS = CollectionId("acme", "cars")


@contextmanager
def http(path: Path) -> Iterator[Backend]:
    """Yield a self-hosted registry, served on loopback."""
    with served(path / "served") as running:
        yield running.backend()


BACKENDS: dict[str, Make] = {
    "memory": lambda _: nullcontext(MemoryBackend()),
    "directory": lambda path: nullcontext(DirectoryBackend(path / "registry")),
    "http": http,
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path) as made:
        yield made


def cat(number: int) -> Package:
    """Return what revision `number` adds."""
    return module(version=f"1.{number}.0", content=b"weights of %d" % number)


def index(number: int) -> Index:
    """Return the index of a revision."""
    found = Index()
    for each in range(1, number + 1):
        found = found.adding([release_of(cat(each))], previous=sha256(found.to_json()))
    return found


def changes(number: int, *, package: Package | None = None) -> dict[str, Content]:
    """Return the files of the commit that makes a revision."""
    added = package or cat(number)
    files: dict[str, Content] = {f"cat/1.{number}.0/{name}": data for name, data in added.files.items()}
    return commit_changes(index(number), files, collection=PETS)


def commit(backend: Backend, number: int, parent: str | None, collection: CollectionId = PETS) -> str:
    return backend.commit(collection, changes(number), parent=parent, message="test")


def read(backend: Backend, path: str, revision: str | None = None) -> bytes:
    return backend.read(PETS, path, revision=revision, limit=100_000)


def weights(number: int) -> str:
    return f"cat/1.{number}.0/delta.safetensors"


def test_an_empty_registry_has_no_collection(backend: Backend) -> None:
    assert backend.head(PETS) is None
    with pytest.raises(NotFound):
        read(backend, INDEX_FILE)


def test_a_commit_is_read_back(backend: Backend) -> None:
    revision = commit(backend, 1, None)
    assert backend.head(PETS) == revision
    assert read(backend, INDEX_FILE) == index(1).to_json()
    assert read(backend, weights(1), revision) == b"weights of 1"
    assert list(backend.collections()) == [PETS]
    assert list(backend.collections(tags=["class:cat"])) == [PETS]


def test_the_index_of_an_earlier_revision_is_kept(backend: Backend) -> None:
    first = commit(backend, 1, None)
    second = commit(backend, 2, first)
    assert read(backend, INDEX_FILE, first) == index(1).to_json()
    assert read(backend, INDEX_FILE, second) == read(backend, INDEX_FILE) == index(2).to_json()


def test_a_commit_on_an_old_parent_changes_nothing(backend: Backend) -> None:
    first = commit(backend, 1, None)
    second = commit(backend, 2, first)
    for parent in (None, first, "nonsense"):
        with pytest.raises(CommitConflict, match="pets"):
            commit(backend, 3, parent)
    assert backend.head(PETS) == second
    with pytest.raises(NotFound):
        read(backend, weights(3))


def test_a_commit_on_a_collection_that_is_not_there_changes_nothing(backend: Backend) -> None:
    for parent in ("1", "0" * 40):
        with pytest.raises(CommitConflict):
            commit(backend, 1, parent)
    assert backend.head(PETS) is None


def test_never_more_is_read_than_asked_for(backend: Backend) -> None:
    commit(backend, 1, None)
    for path, data in ((INDEX_FILE, index(1).to_json()), (weights(1), b"weights of 1")):
        assert backend.read(PETS, path, revision=None, limit=len(data)) == data
        with pytest.raises(IntegrityError, match=f"{len(data) - 1:,}"):
            backend.read(PETS, path, revision=None, limit=len(data) - 1)
        with pytest.raises(IntegrityError, match=f"{len(data) - 1:,}"):
            list(backend.stream(PETS, path, revision=None, limit=len(data) - 1))


def test_a_stream_begins_where_it_is_asked_to(backend: Backend) -> None:
    revision = commit(backend, 1, None)
    for start in (0, 1, 11, 12):
        found = b"".join(backend.stream(PETS, weights(1), revision=revision, limit=12, start=start))
        assert found == b"weights of 1"[start:]
    with pytest.raises(IntegrityError):
        list(backend.stream(PETS, weights(1), revision=revision, limit=100, start=13))
    with pytest.raises(NotFound):
        list(backend.stream(PETS, weights(2), revision=revision, limit=100))


def test_a_file_on_disk_is_committed_without_being_held(backend: Backend, tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    package = module(version="1.1.0", content=data)
    (tmp_path / "weights").write_bytes(data)
    local = LocalFile(path=tmp_path / "weights", size=len(data), sha256=sha256(data))
    found = index(0).adding([release_of(package)], previous=sha256(index(0).to_json()))
    files: dict[str, Content] = {f"cat/1.1.0/{name}": content for name, content in package.files.items()}
    files["cat/1.1.0/delta.safetensors"] = local
    backend.commit(PETS, commit_changes(found, files, collection=PETS), parent=None, message="test")
    assert check_whole(backend).get("cat", "1.1.0")


def test_a_file_on_disk_that_was_changed_is_not_committed(backend: Backend, tmp_path: Path) -> None:
    data = bytes(9 << 20)
    (tmp_path / "weights").write_bytes(data[:-1] + b"1")
    local = LocalFile(path=tmp_path / "weights", size=len(data), sha256=sha256(data))
    with pytest.raises(IntegrityError, match="was changed"):
        backend.commit(PETS, {**changes(1), weights(1): local}, parent=None, message="test")
    assert backend.head(PETS) is None


def test_an_unknown_revision_is_not_found(backend: Backend) -> None:
    commit(backend, 1, None)
    for revision in ("0", "7", "1-0", "main", "-1", "../1", "0" * 40):
        with pytest.raises(NotFound):
            read(backend, INDEX_FILE, revision)


def test_collections_do_not_share_revisions(backend: Backend) -> None:
    commit(backend, 1, None)
    commit(backend, 1, None, CARS)
    assert sorted(backend.collections()) == [CARS, PETS]
    commit(backend, 2, backend.head(CARS), CARS)
    assert read(backend, INDEX_FILE) == index(1).to_json()


def test_releases_are_published_yanked_and_deprecated(backend: Backend) -> None:
    client = Client({"it": backend}, store=Store(NOWHERE))
    client.publish(PETS, [cat(1), cat(2)])
    assert client.publish(PETS, [cat(1)]).already
    package = PETS.package("cat")
    client.yank(package, version="1.1.0", reason="wrong")
    client.deprecate(package, version="1.2.0", reason="old")
    releases = client.index(PETS).find("cat")
    assert [(each.yanked, each.deprecated) for each in releases] == [("wrong", None), (None, "old")]
    client.unyank(package, version="1.1.0")
    assert client.release(package, version="1.1.0").yanked is None
    assert check_whole(backend).revision == 4
