"""A registry and a store in a folder, what is done to them while things fail, and what must hold afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.hub.backend import INDEX_FILE
from modhub.hub.cache import prune_cache
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.index import Index
from tests.hub.packages import PETS, base_package, check_whole, lock_of, module

if TYPE_CHECKING:
    from modhub.package.package import Package

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'registry'}"}


def run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program; what it prints is text."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def python(module: str, *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs one of our modules."""
    return [sys.executable, "-m", module, *arguments]


def old_packages() -> list[Package]:
    """Return what is published before anything fails."""
    return [base_package()]


def new_packages() -> list[Package]:
    """Return what is published while things fail."""
    return [module(base=base_package()), module("dog", base=base_package())]


def open_client(folder: Path) -> Client:
    """Return a client of a registry and a store below a folder."""
    return Client({"folder": DirectoryBackend(folder / "registry")}, store=Store(folder / "store"))


def make(folder: Path, *, everything: bool = False) -> Path:
    """Make a registry with one release, or all, and a store that has fetched the first; what was left lies about."""
    client = open_client(folder)
    client.publish(PETS, old_packages())
    client.fetch(lock_of(client.snapshot(PETS)))
    if everything:
        client.publish(PETS, new_packages())
    for place in (folder / "registry/acme/pets", folder / "store/files"):
        (place / f"{fsops.TEMPORARY}left").mkdir()
        (place / f"{fsops.TEMPORARY}left" / "file").write_bytes(b"left by somebody who was killed")
    (folder / "store/partial").mkdir()
    (folder / "store/partial" / ("ab" * 32)).write_bytes(b"half")
    return folder


def publish(folder: Path) -> None:
    """Publish the new packages."""
    open_client(folder).publish(PETS, new_packages())


def install(folder: Path) -> None:
    """Fetch what is published."""
    client = open_client(folder)
    client.fetch(lock_of(client.snapshot(PETS)))


def yank(folder: Path) -> None:
    """Mark a release."""
    open_client(folder).yank(PETS.package("base"), version="1.0.0", reason="wrong")


def prune(folder: Path) -> None:
    """Delete everything that may be deleted."""
    client = open_client(folder)
    DirectoryBackend(folder / "registry").prune(older_than_s=-60)
    client.store.prune(older_than_s=-60)
    prune_cache(client.store, older_than_s=-60)


OPERATIONS = {"publish": publish, "install": install, "yank": yank, "prune": prune}


def check_registry(folder: Path) -> Index:
    """Check that every release is whole, that only what was published is listed, and return the index."""
    index = check_whole(DirectoryBackend(folder / "registry"))
    assert {release.name for release in index.releases} in ({"base"}, {"base", "cat", "dog"})
    return index


def check_store(folder: Path) -> None:
    """Check that the store serves no damage, that installing works, and that all in it is whole then."""
    client = open_client(folder)
    before = set(client.store.digests())
    assert all(client.store.get(digest, limit=1 << 20) is not None for digest in before)
    assert client.fetch(lock_of(client.snapshot(PETS)))


def check_retried(folder: Path, operation: str) -> None:
    """Check that the second try of an operation succeeds, and that nobody is in the way of the next."""
    OPERATIONS[operation](folder)
    client, backend = open_client(folder), DirectoryBackend(folder / "registry")
    client.publish(PETS, [module("after")])
    index = check_whole(backend)
    if operation == "publish":
        assert {release.name for release in index.releases} == {"after", "base", "cat", "dog"}
    plain = backend.root / "acme" / "pets"
    assert Index.from_json((plain / INDEX_FILE).read_bytes()) == index
    for release in index.releases:
        assert (plain / release.name / release.version / "module.json").is_file()
    prune(folder)
    assert not list(folder.rglob(f"{fsops.TEMPORARY}*"))
