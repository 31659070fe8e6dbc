from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from modhub import fsops
from modhub.errors import CommitConflict, FormatError, IntegrityError, InvalidName, NotFound, StorageError, UsageError
from modhub.hub import directory
from modhub.hub.backend import CARD_FILE, INDEX_FILE
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.names import CollectionId
from tests.hub.packages import PETS, base_package, check_whole, module


@pytest.fixture
def backend(tmp_path: Path) -> DirectoryBackend:
    return DirectoryBackend(tmp_path / "registry")


@pytest.fixture
def client(backend: DirectoryBackend, tmp_path: Path) -> Client:
    return Client({"folder": backend}, store=Store(tmp_path / "store"))


@pytest.fixture
def pets(backend: DirectoryBackend) -> Path:
    return backend.root / "acme" / "pets"


def visible(folder: Path) -> list[str]:
    """Return the paths of all files that are not hidden."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))


def raw_commit(backend: DirectoryBackend, parent: str | None, index: bytes = b"{}", **files: bytes) -> str:
    changes = {INDEX_FILE: index, **{path.replace("__", "/"): data for path, data in files.items()}}
    return backend.commit(PETS, changes, parent=parent, message="test")


def test_a_collection_is_readable_as_plain_files(client: Client, pets: Path) -> None:
    base = base_package()
    client.publish(PETS, [base, module(base=base)])
    assert visible(pets) == [
        "README.md",
        "base/1.0.0/module.json",
        "base/1.0.0/weights.safetensors",
        "cat/1.0.0/delta.safetensors",
        "cat/1.0.0/model.onnx",
        "cat/1.0.0/module.json",
        "modhub.json",
    ]
    assert Index.from_json((pets / INDEX_FILE).read_bytes()) == client.index(PETS)
    assert (pets / "cat/1.0.0/delta.safetensors").stat().st_nlink == 1


def test_nothing_but_indexes_and_the_lock_stays_hidden(client: Client, pets: Path) -> None:
    client.publish(PETS, [module()])
    client.publish(PETS, [module(version="1.1.0")])
    hidden = [path for path in (pets / ".modhub").rglob("*") if path.is_file()]
    assert sorted(path.name for path in hidden) == ["00000001.json", "00000002.json", "lock"]
    assert list((pets / ".modhub" / "staged").iterdir()) == []


def test_the_newest_numbered_index_is_the_truth(client: Client, backend: DirectoryBackend, pets: Path) -> None:
    client.publish(PETS, [module()])
    (pets / INDEX_FILE).write_bytes(b"edited by hand")
    assert [release.version for release in check_whole(backend).releases] == ["1.0.0"]
    client.publish(PETS, [module(version="1.1.0")])
    assert Index.from_json((pets / INDEX_FILE).read_bytes()).revision == 2


def test_a_folder_copied_without_its_hidden_part_is_a_collection(
    client: Client, backend: DirectoryBackend, pets: Path
) -> None:
    client.publish(PETS, [module()])
    client.publish(PETS, [module(version="1.1.0")])
    copy = backend.root / "mirror" / "pets"
    shutil.copytree(pets, copy, ignore=shutil.ignore_patterns(".modhub"))
    mirror = CollectionId("mirror", "pets")
    assert sorted(backend.collections()) == [PETS, mirror]
    assert client.index(mirror) == client.index(PETS)
    client.publish(mirror, [module(version="1.2.0")])
    assert len(check_whole(backend, mirror).releases) == 3
    assert [path.name for path in (copy / ".modhub" / "index").iterdir()] == ["00000003.json"]


def test_a_copied_folder_with_a_broken_index_says_where(backend: DirectoryBackend, pets: Path) -> None:
    fsops.write_folder(pets, {INDEX_FILE: b'{"revision": -1}'})
    with pytest.raises(FormatError, match=f"{pets / INDEX_FILE}: revision: expected a non-negative integer"):
        backend.head(PETS)


def test_a_reader_finds_a_commit_that_was_not_settled(client: Client, backend: DirectoryBackend, pets: Path) -> None:
    client.publish(PETS, [module()])
    unsettle(client, pets)
    assert visible(pets) == ["README.md", "modhub.json"]
    assert len(check_whole(backend).releases) == 1
    client.publish(PETS, [module(version="1.1.0")])
    assert (pets / "cat" / "1.0.0" / "module.json").is_file()
    assert len(check_whole(backend).releases) == 2


def test_a_repeated_publish_finds_an_unsettled_release(client: Client, pets: Path) -> None:
    client.publish(PETS, [module()])
    unsettle(client, pets)
    assert client.publish(PETS, [module()]).already


def unsettle(client: Client, pets: Path) -> None:
    """Put the first release back to where it was when its index was committed."""
    number, digest = client.snapshot(PETS).revision.split("-")  # type: ignore[union-attr]
    staged = pets / ".modhub" / "staged" / f"{int(number):08d}-{digest}"
    fsops.make_folder(staged / "cat")
    (pets / "cat" / "1.0.0").rename(staged / "cat" / "1.0.0")
    (pets / "cat").rmdir()


def test_what_is_staged_is_not_visible(client: Client, backend: DirectoryBackend, pets: Path) -> None:
    client.publish(PETS, [module()])
    staged = pets / ".modhub" / "staged" / f"00000002-{sha256(b'other')}"
    fsops.write_folder(staged, {"dog/1.0.0/module.json": b"{}"})
    with pytest.raises(NotFound):
        backend.read(PETS, "dog/1.0.0/module.json", revision=None, limit=10)
    client.publish(PETS, [module(version="1.1.0")])
    assert not staged.exists(), "its number went to another index"
    assert visible(pets / "dog") == []


def test_a_staged_orphan_with_the_same_content_is_used(backend: DirectoryBackend, pets: Path) -> None:
    orphan = pets / ".modhub" / "staged" / f"00000001-{sha256(b'{}')}"
    fsops.write_folder(orphan, {"cat/1.0.0/file": b"x"})
    inode = (orphan / "cat" / "1.0.0").stat().st_ino
    backend.commit(PETS, {INDEX_FILE: b"{}", "cat/1.0.0/file": b"x"}, parent=None, message="")
    assert (pets / "cat" / "1.0.0").stat().st_ino == inode


def test_a_foreign_folder_in_the_way_is_not_touched(client: Client, backend: DirectoryBackend, pets: Path) -> None:
    fsops.write_folder(pets / "cat" / "1.0.0", {"notes.txt": b"mine"})
    with pytest.raises(StorageError, match=r"cat/1\.0\.0 is in the way: it is there, but no index names it"):
        client.publish(PETS, [module()])
    assert backend.head(PETS) is None
    assert (pets / "cat/1.0.0/notes.txt").read_bytes() == b"mine"


def test_older_indexes_are_emptied_but_keep_their_numbers(
    backend: DirectoryBackend, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "INDEXES_KEPT", 3)
    revisions: list[str | None] = [None]
    for number in range(6):
        revisions.append(raw_commit(backend, revisions[-1], index=b"[%d]" % number))
    sizes = [path.stat().st_size for path in sorted((pets / ".modhub" / "index").iterdir())]
    assert sizes == [0, 0, 0, 3, 3, 3]
    assert backend.read(PETS, INDEX_FILE, revision=revisions[4], limit=9) == b"[3]"
    with pytest.raises(NotFound, match="keeps no index of revision"):
        backend.read(PETS, INDEX_FILE, revision=revisions[1], limit=9)
    with pytest.raises(CommitConflict):
        raw_commit(backend, revisions[1])


@pytest.mark.parametrize("path", ["cat/file", "cat/1.0.0/deep/file", "/x/y", "../a/b", "cat/../b", ".modhub/index/x"])
def test_a_commit_holds_texts_and_releases_only(backend: DirectoryBackend, path: str) -> None:
    with pytest.raises((UsageError, InvalidName)):
        backend.commit(PETS, {INDEX_FILE: b"{}", path: b""}, parent=None, message="")
    assert backend.head(PETS) is None


def test_a_commit_without_an_index_is_refused(backend: DirectoryBackend) -> None:
    with pytest.raises(UsageError, match=r"modhub\.json is missing"):
        backend.commit(PETS, {CARD_FILE: b""}, parent=None, message="")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", ".modhub/lock", "cat//x", "cat/./x"])
def test_reading_stays_inside(backend: DirectoryBackend, path: str) -> None:
    raw_commit(backend, None)
    with pytest.raises(IntegrityError):
        backend.read(PETS, path, revision=None, limit=10)


def test_a_link_is_no_file_of_a_release(backend: DirectoryBackend, pets: Path) -> None:
    raw_commit(backend, None)
    fsops.make_folder(pets / "cat" / "1.0.0")
    (pets / "cat" / "1.0.0" / "module.json").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError, match="is a link, not a regular file"):
        backend.read(PETS, "cat/1.0.0/module.json", revision=None, limit=1000)


def test_a_name_that_would_be_mistaken_for_another_is_refused(backend: DirectoryBackend) -> None:
    raw_commit(backend, None)
    for twin in ("Acme/pets", "acme/PETS"):
        with pytest.raises(InvalidName, match=f"has acme/pets, which {twin} would be mistaken for"):
            backend.commit(CollectionId.parse(twin), {INDEX_FILE: b"{}"}, parent=None, message="")


def test_folders_that_are_no_collections_are_passed_over(backend: DirectoryBackend) -> None:
    raw_commit(backend, None)
    for folder in ("acme/empty", "acme/--", ".git/objects", "acme/no index"):
        (backend.root / folder).mkdir(parents=True)
    (backend.root / "notes.txt").write_bytes(b"")
    assert list(backend.collections()) == [PETS]


def test_a_root_that_is_not_there_is_named(backend: DirectoryBackend) -> None:
    assert backend.head(PETS) is None
    with pytest.raises(NotFound, match="registry: no such file or directory"):
        list(backend.collections())


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file/acme/pets/\.modhub: (not a directory|file exists)"):
        raw_commit(DirectoryBackend(tmp_path / "file"), None)


def test_the_plain_files_follow_when_a_slower_publisher_settles_last(backend: DirectoryBackend, pets: Path) -> None:
    first = raw_commit(backend, None, index=b'{"revision": 1}')
    raw_commit(backend, first, index=b'{"revision": 2}')
    (pets / INDEX_FILE).write_bytes(b'{"revision": 1}')
    directory.CollectionFolder(pets).settle(texts={})
    assert (pets / INDEX_FILE).read_bytes() == b'{"revision": 2}'


def test_leftovers_of_killed_publishers_are_pruned(backend: DirectoryBackend, pets: Path) -> None:
    raw_commit(backend, None)
    fsops.write_folder(pets / "cat" / f"{fsops.TEMPORARY}0123", {"half": b""})
    assert backend.prune(older_than_s=-60) == 1
    assert visible(pets) == ["modhub.json"]
    assert stat.S_ISREG((pets / INDEX_FILE).stat().st_mode)


def test_locks_call_a_folder_by_its_address_wherever_it_was_opened_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my modules").mkdir()
    monkeypatch.chdir(tmp_path)
    address = f"file://{tmp_path.resolve()}/my%20modules"
    assert DirectoryBackend(Path("my modules")).name == address
    assert DirectoryBackend(tmp_path / "x" / ".." / "my modules").name == address
    assert DirectoryBackend(tmp_path, name="seed:").name == "seed:"
