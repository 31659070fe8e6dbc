"""Collections travel between registries, and as one file, byte for byte."""

from __future__ import annotations

import os
import zipfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from modhub.errors import AccessDenied, CommitConflict, FormatError, IntegrityError, NotFound
from modhub.fsops import bytes_of
from modhub.hub.backend import CARD_FILE, INDEX_FILE
from modhub.hub.bundle import BundleBackend, write_bundle
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.mirror import mirror
from modhub.hub.registries import open_registry
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from modhub.spec.names import CollectionId
from tests.hub.packages import NOWHERE, PETS, base_package, check_whole, lock_of, module
from tests.hub.test_backends import BACKENDS
from tests.support.pets import pets_packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modhub.hub.backend import Backend

CAT = PETS.package("cat")


@pytest.fixture
def source(tmp_path: Path) -> DirectoryBackend:
    """A registry with real packages, which have cards of their own, and one mark."""
    backend = DirectoryBackend(tmp_path / "source")
    client = Client({"source": backend}, store=Store(NOWHERE))
    for seed, version in enumerate(("1.0.0", "1.1.0")):
        client.publish(PETS, pets_packages(version, seed=seed, forms=("delta", "standalone")))
    client.yank(CAT, version="1.0.0", reason="wrong")
    return backend


@pytest.fixture(params=BACKENDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        yield stack.enter_context(BACKENDS[request.param](tmp_path / "target"))


def open_both(source: Backend, target: Backend, store: Path) -> Client:
    return Client({"source": source, "target": target}, store=Store(store))


def contents(backend: Backend, root: Path) -> dict[str, bytes]:
    """Return all files that the plain folder of a directory registry has, as another registry has them."""
    paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file() and ".modhub" not in path.parts]
    assert len(paths) > 20
    return {str(path): backend.read(PETS, path.as_posix(), revision=None, limit=1 << 20) for path in paths}


def test_a_mirror_has_the_same_bytes(source: DirectoryBackend, target: Backend, tmp_path: Path) -> None:
    client = open_both(source, target, tmp_path / "store")
    copy = mirror(client, PETS, source="source", target="target")
    assert (len(copy.copied), copy.already) == (10, False)
    assert copy.revision == target.head(PETS)
    root = source.root / "acme" / "pets"
    assert contents(target, root) == {path: (root / path).read_bytes() for path in contents(target, root)}
    assert check_whole(target).get("cat", "1.0.0")
    assert mirror(client, PETS, source="source", target="target").already


def test_a_mirror_is_brought_up_to_date(source: DirectoryBackend, target: Backend, tmp_path: Path) -> None:
    client = open_both(source, target, tmp_path / "store")
    mirror(client, PETS, source="source", target="target")
    client.publish(PETS, [module("fish")] if not target.remote else pets_packages("1.2.0"), registry="source")
    copy = mirror(client, PETS, source="source", target="target")
    assert len(copy.copied) == (5 if target.remote else 1)
    client.deprecate(CAT, version="1.1.0", reason="old", registry="source")
    marked = mirror(client, PETS, source="source", target="target")
    assert (marked.copied, marked.already) == ((), False)
    assert client.snapshot(PETS, registry="target").digest == client.snapshot(PETS, registry="source").digest


def test_another_history_is_not_overwritten(source: DirectoryBackend, target: Backend, tmp_path: Path) -> None:
    client = open_both(source, target, tmp_path / "store")
    client.publish(PETS, pets_packages("3.0.0"), registry="target")
    before = target.head(PETS)
    with pytest.raises(CommitConflict, match="a history of its own, not continued by the source"):
        mirror(client, PETS, source="source", target="target")
    assert target.head(PETS) == before


def test_a_source_that_lies_is_not_copied(source: DirectoryBackend, tmp_path: Path) -> None:
    target = DirectoryBackend(tmp_path / "target")
    card = source.root / "acme" / "pets" / "cat" / "1.0.0" / "README.md"
    card.write_bytes(card.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        mirror(open_both(source, target, tmp_path / "store"), PETS, source="source", target="target")
    assert target.head(PETS) is None
    with pytest.raises(NotFound):
        mirror(open_both(source, target, tmp_path / "store"), CollectionId("a", "b"), source="source", target="target")


def test_a_bundle_carries_collections(source: DirectoryBackend, target: Backend, tmp_path: Path) -> None:
    path = tmp_path / "pets.modhub"
    size = write_bundle(Client({"it": source}, store=Store(tmp_path / "store")), [PETS], path)
    assert size == path.stat().st_size
    bundle = open_registry(str(path))
    assert isinstance(bundle, BundleBackend)
    assert open_registry(bundle.name).name == bundle.name
    client = open_both(bundle, target, tmp_path / "other store")
    assert list(bundle.collections()) == [PETS]
    mirror(client, PETS, source="source", target="target")
    root = source.root / "acme" / "pets"
    assert contents(target, root) == contents(source, root)


def test_equal_collections_make_equal_bundles(source: DirectoryBackend, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_bundle(Client({"it": source}, store=Store(tmp_path / name)), [PETS], tmp_path / f"{name}.modhub")
    assert (tmp_path / "first.modhub").read_bytes() == (tmp_path / "second.modhub").read_bytes()


def test_a_bundle_is_a_registry_to_read(source: DirectoryBackend, tmp_path: Path) -> None:
    path = tmp_path / "pets.modhub"
    write_bundle(Client({"it": source}, store=Store(tmp_path / "store")), [PETS], path)
    bundle = BundleBackend(path)
    client = Client({"bundle": bundle}, store=Store(tmp_path / "other"))
    assert client.release(CAT, version="1.0.0").yanked == "wrong"
    with pytest.raises(AccessDenied, match="is a bundle, which cannot be changed"):
        client.publish(PETS, [module("fish")])
    with pytest.raises(NotFound):
        bundle.read(PETS, INDEX_FILE, revision="0", limit=10)
    for limit, start in ((1, 0), (1 << 20, 1 << 19)):
        with pytest.raises(IntegrityError, match="holds"):
            list(bundle.stream(PETS, CARD_FILE, revision=None, limit=limit, start=start))
    assert b"".join(bundle.stream(PETS, CARD_FILE, revision=None, limit=1 << 20, start=3)).startswith(b"\n")


# Hostile files.


def altered(path: Path, target: Path, change: str) -> Path:
    """Write a bundle anew, with one thing about it changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if change == "byte" and entry.filename.endswith("delta.safetensors"):
                data = data[:-1] + bytes([data[-1] ^ 1])
            method = zipfile.ZIP_DEFLATED if change == "compressed" else zipfile.ZIP_STORED
            new.writestr(entry.filename, data, compress_type=method)
        if change in HOSTILE_NAMES:
            new.writestr(HOSTILE_NAMES[change], b"x")
        if change == "twice":
            with pytest.warns(UserWarning, match="Duplicate name"):
                new.writestr("acme/pets/modhub.json", b"{}")
    return target


HOSTILE_NAMES = {
    "up": "../../evil",
    "absolute": "/etc/evil",
    "backslash": "..\\evil",
    "hidden": ".ssh/evil",
    "device": "acme/pets/nul",
    "folder": "acme/",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "good.modhub"
    registry = DirectoryBackend(tmp_path / "registry")
    client = Client({"it": registry}, store=Store(tmp_path / "store"))
    client.publish(PETS, [base_package(), module(base=base_package())])
    write_bundle(client, [PETS], path)
    return path


@pytest.mark.parametrize("change", [*HOSTILE_NAMES, "compressed", "twice"])
def test_a_bundle_with_strange_entries_is_refused_before_anything_is_read(
    bundle: Path, tmp_path: Path, change: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    path = altered(bundle, tmp_path / "bad.modhub", change)
    with pytest.raises(FormatError, match=r"bad\.modhub"):
        BundleBackend(path)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_a_bundle_whose_bytes_were_changed_gives_nothing(bundle: Path, tmp_path: Path) -> None:
    changed = BundleBackend(altered(bundle, tmp_path / "bad.modhub", "byte"))
    target = DirectoryBackend(tmp_path / "target")
    with pytest.raises(IntegrityError, match=r"delta\.safetensors"):
        mirror(open_both(changed, target, tmp_path / "new store"), PETS, source="source", target="target")
    assert target.head(PETS) is None


def test_a_file_that_is_damaged_or_no_bundle_is_told(bundle: Path, tmp_path: Path) -> None:
    data = bundle.read_bytes()
    for number, wrong in enumerate((b"", b"PK", data[:-30], data[: len(data) // 2], os.urandom(1000))):
        path = tmp_path / f"{number}.modhub"
        path.write_bytes(wrong)
        with pytest.raises(FormatError, match="is no bundle, or a damaged one"):
            BundleBackend(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", b"hello")
    with pytest.raises(NotFound, match=r"holds no bundle\.json"):
        BundleBackend(tmp_path / "other.zip")


def test_every_flipped_bit_is_found_or_harmless(bundle: Path, tmp_path: Path) -> None:
    data, path = bundle.read_bytes(), tmp_path / "flipped.modhub"
    good = Client({"it": BundleBackend(bundle)}, store=Store(tmp_path / "good"))
    expected = good.fetch(lock_of(good.snapshot(PETS)))
    for place in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            backend = BundleBackend(path)
            client = Client({"it": backend}, store=Store(tmp_path / f"store{place}"))
            lock = lock_of(client.snapshot(PETS))
            found = client.fetch(lock)
        except (FormatError, IntegrityError, NotFound):
            continue
        for name, files in found.items():
            digests = {module.name: module.manifest_sha256 for module in lock.modules}
            assert sha256(bytes_of(files["module.json"])) == digests[name]
            assert files == expected[name]
