"""Working on a full disk, on one that cannot be written, and with a limit; run in a namespace of its own mounts.

``python -m tests.faults.disks SCENE FOLDER ELSEWHERE`` prints figures as JSON. ELSEWHERE is a folder on a good disk.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modhub import flow
from modhub.cli.main import run
from modhub.errors import NotFound, StorageError
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from tests.faults.scenes import new_packages, old_packages, open_client
from tests.hub.packages import PETS, base_package, check_whole, lock_of, module
from tests.server.collections import lines
from tests.server.service import header, served
from tests.support.pets import publish_pets
from tests.support.samples import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = "no space left on device"
READ_ONLY = r"read-only file system|permission denied"


def fill_the_disk(folder: Path, elsewhere: Path) -> dict[str, Any]:
    """Publish, install, compose and serve until the disk is full; all is whole then, and goes on when there is room."""
    return {
        "published": publish_until_full(folder / "publish"),
        "installed": install_until_full(folder / "install", elsewhere),
        "composed": compose_when_full(folder / "compose"),
        "committed": serve_until_full(folder / "serve"),
    }


@contextlib.contextmanager
def ballast(folder: Path, *, all_but: int | None = None) -> Iterator[Callable[[], None]]:
    """Take some room, or all but so many bytes; yield what gives it back."""
    folder.mkdir()
    path = folder / "ballast"
    free = os.statvfs(folder)
    size = 256 << 10 if all_but is None else free.f_bavail * free.f_frsize - all_but
    path.write_bytes(bytes(max(0, size)))
    yield path.unlink
    for each in sorted(folder.rglob("*"), reverse=True):
        if each.is_dir():
            each.rmdir()
        else:
            each.unlink()


def publish_until_full(folder: Path) -> int:
    """Publish ever more; return how many releases went in."""
    with ballast(folder) as give_back:
        client, backend = open_client(folder), DirectoryBackend(folder / "registry")
        published: list[str] = []
        with pytest.raises(StorageError, match=FULL):
            publish_forever(client, published)
        assert published
        assert [release.version for release in check_whole(backend).releases] == published
        give_back()
        backend.prune(older_than_s=-60)
        client.publish(PETS, [module(version="2.0.0", content=b"small")])
        assert check_whole(backend).get("cat", "2.0.0")
    return len(published)


def publish_forever(client: Client, published: list[str]) -> None:
    """Publish one version after another, each of 100 kB, and note those that were."""
    for version in (f"1.{minor}.0" for minor in range(10_000)):
        client.publish(PETS, [module(version=version, content=os.urandom(50_000))])
        published.append(version)


def install_until_full(folder: Path, elsewhere: Path) -> int:
    """Fetch into a store that fills up; return how many files went in."""
    backend = DirectoryBackend(elsewhere / "registry")
    publisher = Client({"it": backend}, store=Store(elsewhere / "publisher"))
    publisher.publish(PETS, [module(f"m{number}", content=os.urandom(200_000)) for number in range(16)])
    with ballast(folder, all_but=2 << 20) as give_back:
        client = Client({"it": backend}, store=Store(folder / "store"))
        lock = lock_of(client.snapshot(PETS))
        with pytest.raises(StorageError, match=FULL):
            client.fetch(lock)
        store = client.store
        there = store.digests()
        assert all(store.get(digest, limit=1 << 20) is not None for digest in there)
        give_back()
        assert len(client.fetch(lock)) == 16
    return len(there)


def compose_when_full(folder: Path) -> int:
    """Write a composite where there is no room for it, then where there is; return its bytes."""
    package = flow.compose(parts()).package
    with ballast(folder, all_but=package.size // 2) as give_back:
        with pytest.raises(StorageError, match=FULL):
            flow.write_package(package, folder / "out")
        assert sorted(path.name for path in folder.iterdir()) == ["ballast"]
        give_back()
        (found,) = flow.check(flow.write_package(package, folder / "out"))
        assert found.digest == package.digest
    return package.size


def serve_until_full(folder: Path) -> int:
    """Commit to a server until its disk is full; return how many commits were acknowledged."""
    with ballast(folder) as give_back, served(folder / "registry") as service:
        service.api().create_repo("alice/full")
        kept: dict[str, bytes] = {}
        for number in range(1000):
            data = os.urandom(50_000)
            answer = service.commit("alice/full", header(), *lines({f"f{number}": data}))
            if answer.status != 200:
                break
            kept[f"f{number}"] = data
        assert answer.status == 503, answer
        assert answer.headers["x-error-code"] == "StorageError"
        check_served(service, kept)
        give_back()
        after = service.commit("alice/full", header(), *lines({"after": b"small"}))
        assert after.status == 200, after
        check_served(service, {**kept, "after": b"small"})
    return len(kept)


def check_served(service: Any, kept: dict[str, bytes]) -> None:
    """Check that a server still answers with every file it acknowledged, and lists no other."""
    listed = service.call("GET", "/api/models/alice/full/tree/main?limit=1000").json()
    assert {row["path"] for row in listed} - {".gitattributes"} == kept.keys()
    for path, data in kept.items():
        assert service.call("GET", f"/alice/full/resolve/main/{path}").body == data


def prepare_reading(folder: Path) -> None:
    """Make, while it can be written, what `use_a_read_only_disk` reads."""
    client = open_client(folder)
    client.publish(PETS, old_packages())
    client.fetch(lock_of(client.snapshot(PETS)))
    modules = publish_pets(folder / "modules", "1.0.0")
    command(folder / "modules", "install", "acme/pets/cat", "-r", modules, "--lock", folder / "modhub.lock")


def use_a_read_only_disk(folder: Path, elsewhere: Path) -> dict[str, Any]:
    """Read everything from a folder that cannot be changed, and fail to change it, with one clear error each."""
    client, backend = open_client(folder), DirectoryBackend(folder / "registry")
    before = check_whole(backend)
    assert client.index(PETS) == before
    assert set(client.fetch(lock_of(client.snapshot(PETS)))) == {"acme/pets/base"}
    refused = pytest.raises(StorageError, match=READ_ONLY)
    with refused:
        client.publish(PETS, new_packages())
    with refused:
        client.yank(PETS.package("base"), version="1.0.0", reason="wrong")
    with refused:
        client.store.put(b"new")
    assert check_whole(backend) == before
    assert client.publish(PETS, old_packages()).already
    modules = folder / "modules"
    reading = [
        ("search", "-r", modules),
        ("info", "acme/pets/cat", "-r", modules),
        ("resolve", "acme/pets/cat", "-r", modules),
        ("install", "--locked", "--lock", folder / "modhub.lock"),
        ("compose", folder / "modhub.lock", "-o", elsewhere / "composed"),
        ("cache", "ls"),
    ]
    writing = [
        ("yank", "acme/pets/cat==1.0.0", "-r", modules, "--reason", "wrong"),
        ("compose", folder / "modhub.lock", "-o", folder / "composed"),
        ("install", "acme/pets/dog", "-r", modules, "--lock", folder / "other.lock"),
    ]
    for words in reading:
        code, said = command(modules, *words)
        assert code == 0, (words, said)
    for words in writing:
        code, said = command(modules, *words)
        assert code == 5, (words, said)
        assert said.count("modhub: ") == 1, said
        assert re.search(rf"{READ_ONLY}|may not be written", said), said
    return {"verbs_that_read": len(reading) + 3, "verbs_refused": len(writing) + 3}


def command(modules: Path, *words: object) -> tuple[int, str]:
    """Call a command with the store beside the modules; return its code and what it said."""
    said = io.StringIO()
    options = ["--store", modules.parent / "cli-store"]
    every = [*words, *options] if words[0] != "cache" else words
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = run([str(word) for word in every])
    return code, said.getvalue()


def hit_a_size_limit(folder: Path, _: Path) -> dict[str, Any]:
    """Publish and store files larger than this process may write."""
    client, backend = open_client(folder), DirectoryBackend(folder / "registry")
    client.publish(PETS, old_packages())
    before = check_whole(backend)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    small, large = module("small", base=base_package()), module("large", content=bytes(30_000))
    with pytest.raises(StorageError, match="file too large"):
        client.publish(PETS, [small, large])
    with pytest.raises(StorageError, match="file too large"):
        client.store.put(bytes(30_000))
    assert check_whole(backend) == before
    assert not client.store.has(sha256(bytes(30_000)))
    with pytest.raises(NotFound):
        backend.read(PETS, "small/1.0.0/module.json", revision=None, limit=10_000)
    client.publish(PETS, [small])
    assert check_whole(backend).get("small", "1.0.0")
    return {}


SCENES = {"full": fill_the_disk, "read-only": use_a_read_only_disk, "limit": hit_a_size_limit}

if __name__ == "__main__":
    scene, *places = sys.argv[1:]
    print(json.dumps(SCENES[scene](*map(Path, places))))  # noqa: T201  The answer.
