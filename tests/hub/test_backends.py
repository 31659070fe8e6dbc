"""What every backend promises, tried on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from modhub.errors import CommitConflict, IntegrityError, NotFound
from modhub.hub.backend import INDEX_FILE, Backend
from modhub.hub.directory import DirectoryBackend
from modhub.hub.memory import MemoryBackend
from modhub.spec.names import CollectionId
from tests.hub.packages import PETS

Make: TypeAlias = Callable[[Path], Backend]
CARS = CollectionId("acme", "cars")

BACKENDS: dict[str, Make] = {
    "memory": lambda _: MemoryBackend(),
    "directory": lambda path: DirectoryBackend(path / "registry"),
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](tmp_path)


def commit(backend: Backend, index: bytes, parent: str | None, **files: bytes) -> str:
    changes = {INDEX_FILE: index, **{path.replace("__", "/"): data for path, data in files.items()}}
    return backend.commit(PETS, changes, parent=parent, message="test")


def read(backend: Backend, path: str, revision: str | None = None) -> bytes:
    return backend.read(PETS, path, revision=revision, limit=100)


def test_an_empty_registry_has_no_collection(backend: Backend) -> None:
    assert backend.head(PETS) is None
    with pytest.raises(NotFound):
        read(backend, INDEX_FILE)


def test_a_commit_is_read_back(backend: Backend) -> None:
    revision = commit(backend, b"{}", None, cat__v1__file=b"cat")
    assert backend.head(PETS) == revision
    assert read(backend, INDEX_FILE) == b"{}"
    assert read(backend, "cat/v1/file", revision) == b"cat"
    assert list(backend.collections()) == [PETS]


def test_the_index_of_an_earlier_revision_is_kept(backend: Backend) -> None:
    first = commit(backend, b"[1]", None)
    second = commit(backend, b"[2]", first)
    assert read(backend, INDEX_FILE, first) == b"[1]"
    assert read(backend, INDEX_FILE, second) == read(backend, INDEX_FILE) == b"[2]"


def test_a_commit_on_an_old_parent_changes_nothing(backend: Backend) -> None:
    first = commit(backend, b"[1]", None)
    second = commit(backend, b"[2]", first)
    for parent in (None, first, "nonsense"):
        with pytest.raises(CommitConflict, match="pets"):
            commit(backend, b"[3]", parent, cat__v1__file=b"cat")
    assert backend.head(PETS) == second
    with pytest.raises(NotFound):
        read(backend, "cat/v1/file")


def test_a_commit_on_a_collection_that_is_not_there_changes_nothing(backend: Backend) -> None:
    with pytest.raises(CommitConflict):
        commit(backend, b"[1]", "1")
    assert backend.head(PETS) is None


def test_never_more_is_read_than_asked_for(backend: Backend) -> None:
    commit(backend, b"12345", None, cat__v1__file=b"12345")
    for path in (INDEX_FILE, "cat/v1/file"):
        assert backend.read(PETS, path, revision=None, limit=5) == b"12345"
        with pytest.raises(IntegrityError, match="4 bytes"):
            backend.read(PETS, path, revision=None, limit=4)


def test_an_unknown_revision_is_not_found(backend: Backend) -> None:
    commit(backend, b"[1]", None)
    for revision in ("0", "7", "1-0", "main", "-1", "../1"):
        with pytest.raises(NotFound):
            read(backend, INDEX_FILE, revision if backend.head(PETS) != revision else "x")


def test_collections_do_not_share_revisions(backend: Backend) -> None:
    commit(backend, b"[1]", None)
    backend.commit(CARS, {INDEX_FILE: b"[2]"}, parent=None, message="test")
    assert sorted(backend.collections()) == [CARS, PETS]
    assert read(backend, INDEX_FILE) == b"[1]"
