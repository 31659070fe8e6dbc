"""Publishing and installing while the system fails; run under strace, in a mount namespace, or with a limit.

``python -m tests.hub.faults points OPERATION CALL FOLDER...`` runs the operation in each folder, in a process of its
own. The one of folder number i first makes some idle calls, so that with ``strace -e inject=CALL:...:when=POINTS`` the
fault hits call number i of the operation: one strace covers all points.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modhub.errors import ModhubError, NotFound, StorageError
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.digests import sha256
from tests.hub.packages import PETS, base_package, check_whole, lock_of, module

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.package.package import Package

POINTS = {"fsync": 40, "write": 16, "mkdir": 20, "rmdir": 8, "unlink": 10, "rename": 12, "link": 4}
"""More calls than any operation makes; a test checks that they are."""

NOWHERE = Path("/nonexistent/file")
IDLE_CALLS: dict[str, Callable[[], object]] = {
    "fsync": lambda: os.fsync(0),
    "write": lambda: os.write(0, b""),
    "mkdir": NOWHERE.mkdir,
    "rmdir": NOWHERE.rmdir,
    "unlink": NOWHERE.unlink,
    "rename": lambda: NOWHERE.rename(NOWHERE),
    "link": lambda: NOWHERE.hardlink_to(NOWHERE),
}
SYSTEM_CALLS = {
    "fsync": "fsync",
    "write": "write",
    "mkdir": "?mkdir,?mkdirat",
    "rmdir": "?rmdir,?unlinkat",
    "unlink": "?unlink,?unlinkat",
    "rename": "?rename,?renameat,?renameat2",
    "link": "?link,?linkat",
}
"""By Python's names; which of them the C library uses depends on the machine."""


def old_packages() -> list[Package]:
    """Return what is published before anything fails."""
    return [base_package()]


def new_packages() -> list[Package]:
    """Return what is published while things fail."""
    return [module(base=base_package()), module("dog", base=base_package())]


def open_client(folder: Path) -> Client:
    """Return a client of a registry and a store below a folder."""
    return Client({"folder": DirectoryBackend(folder / "registry")}, store=Store(folder / "store"))


def publish(folder: Path) -> None:
    """Publish the new packages."""
    open_client(folder).publish(PETS, new_packages())


def install(folder: Path) -> None:
    """Fetch what is published."""
    client = open_client(folder)
    client.fetch(lock_of(client.snapshot(PETS)))


OPERATIONS = {"publish": publish, "install": install}


def run_points(operation: str, call: str, folders: list[str]) -> None:
    """Run the operation in each folder with the fault one call later each time; print how each process ended."""
    ends = []
    for number, folder in enumerate(folders, start=1):
        process = os.fork()
        if process == 0:
            run_point(OPERATIONS[operation], IDLE_CALLS[call], Path(folder), idle=POINTS[call] - number)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os.write(1, " ".join(map(str, ends)).encode())


def run_point(operation: Callable[[Path], None], idle_call: Callable[[], object], folder: Path, *, idle: int) -> None:
    """Run an operation after some idle calls, and end the process: 0 done, 1 an error of ours, 2 any other."""
    code = 2
    try:
        for _ in range(idle):
            with suppress(OSError):
                idle_call()
        operation(folder)
        code = 0
    except ModhubError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        code = 1
    finally:
        os._exit(code)


def fill_the_disk(folder: Path) -> None:
    """Publish ever more until the disk is full; then check that all is whole, make room, and go on."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(64 << 10))
    client, backend = open_client(folder), DirectoryBackend(folder / "registry")
    published: list[str] = []
    with pytest.raises(StorageError, match="no space left on device"):
        publish_forever(client, published)
    assert published
    assert [release.version for release in check_whole(backend).releases] == published
    ballast.unlink()
    backend.prune(older_than_s=-60)
    client.publish(PETS, [module(version="2.0.0", content=b"small")])
    assert check_whole(backend).get("cat", "2.0.0")


def publish_forever(client: Client, published: list[str]) -> None:
    """Publish one version after another, each of 30 kB, and note those that were."""
    for version in (f"1.{minor}.0" for minor in range(10_000)):
        client.publish(PETS, [module(version=version, content=os.urandom(30_000))])
        published.append(version)


def use_a_read_only_disk(folder: Path) -> None:
    """Read everything from a folder that cannot be changed, and fail to change it."""
    client, backend = open_client(folder), DirectoryBackend(folder / "registry")
    before = check_whole(backend)
    assert client.index(PETS) == before
    assert set(client.fetch(lock_of(client.snapshot(PETS)))) == {"acme/pets/base"}
    refused = pytest.raises(StorageError, match=r"read-only file system|permission denied")
    with refused:
        client.publish(PETS, new_packages())
    with refused:
        client.yank(PETS.package("base"), version="1.0.0", reason="wrong")
    with refused:
        client.store.put(b"new")
    assert check_whole(backend) == before
    assert client.publish(PETS, old_packages()).already


def hit_a_size_limit(folder: Path) -> None:
    """Publish and store files larger than this process may write."""
    client, backend = open_client(folder), DirectoryBackend(folder / "registry")
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


SCENARIOS = {"full": fill_the_disk, "read-only": use_a_read_only_disk, "limit": hit_a_size_limit}

if __name__ == "__main__":
    scenario, *rest = sys.argv[1:]
    if scenario == "points":
        run_points(rest[0], rest[1], rest[2:])
    else:
        SCENARIOS[scenario](Path(rest[0]))
