"""Row S8: publishing to a server and installing from it, against the Hub's own client on the same server and bytes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.hub.client import Client
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.publication import commit_changes, plan_publication
from modhub.hub.registries import seed_folder
from modhub.hub.store import Store
from modhub.package.folder import read_collection
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.names import CollectionId
from modhub.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modhub.package.package import Package

START = "from modhub.cli import main; main()"


def measure(*, full: bool) -> dict[str, Any]:
    """Return median wall seconds of both clients, for the eleven packages of the seed registry."""
    packages = read_collection(seed_folder() / "modhub" / "resnet20-cifar10")
    repeats = 9 if full else 3
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "served") as backend:
        for number in range(repeats):
            # By turns, so that both meet the same machine.
            ours, raw = CollectionId("bench", f"ours-{number}"), CollectionId("bench", f"raw-{number}")
            place = Path(folder) / str(number)
            for name, work in {
                "publish, huggingface_hub": lambda raw=raw: publish_raw(backend, packages, raw),
                "publish, modhub": lambda ours=ours, place=place: publish(backend, packages, ours, place / "publisher"),
                "fetch, huggingface_hub": lambda raw=raw, place=place: fetch_raw(backend, raw, place / "cache"),
                "fetch, modhub": lambda ours=ours, place=place: fetch(backend, ours, place / "store"),
                "fetch again, huggingface_hub": lambda raw=raw, place=place: fetch_raw(backend, raw, place / "cache"),
                "fetch again, modhub": lambda ours=ours, place=place: fetch(backend, ours, place / "store"),
                "install, modhub": lambda ours=ours, place=place: install(backend, ours, place / "other"),
            }.items():
                times.setdefault(name, []).append(seconds(work))
    rows = [{"step": name, "seconds": round(float(np.median(found)), 3)} for name, found in times.items()]
    return {"packages": len(packages), "bytes": sum(package.size for package in packages), "rows": rows}


def seconds(work: Callable[[], None]) -> float:
    """Return the wall seconds that some work takes."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


@contextmanager
def serving(root: Path) -> Iterator[HuggingFaceBackend]:
    """Run a server in a process of its own while the block runs; yields it as a registry that may be written."""
    words = ["registry", "token", "create", "--root", str(root), "--user", "bench", "--scope", "write", "--json"]
    made = subprocess.run([sys.executable, "-c", START, *words], check=True, capture_output=True, text=True)
    token: str = json.loads(made.stdout)["token"]
    server = subprocess.Popen(
        [sys.executable, "-c", START, "serve", str(root), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
        yield HuggingFaceBackend.of_server(address).with_token(token)
    finally:
        server.terminate()
        server.wait()


def publish(backend: HuggingFaceBackend, packages: tuple[Package, ...], collection: CollectionId, store: Path) -> None:
    """Publish: check the files, read the collection, one commit."""
    Client({"it": backend}, store=Store(store)).publish(collection, packages)


def publish_raw(backend: HuggingFaceBackend, packages: tuple[Package, ...], collection: CollectionId) -> None:
    """Commit the same bytes by the Hub's client, which knows nothing of what they are."""
    from huggingface_hub import CommitOperationAdd

    empty = Index()
    plan = plan_publication(packages, index=empty, digest=sha256(empty.to_json()))
    files = commit_changes(plan.index, plan.files, collection=collection)
    backend.api.create_repo(str(collection), exist_ok=True)
    added = [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=io.BytesIO(bytes(data))) for path, data in files.items()
    ]
    backend.api.create_commit(str(collection), added, commit_message="Publish")


def fetch(backend: HuggingFaceBackend, collection: CollectionId, store: Path) -> None:
    """Bring every file of every release into the store, hashed."""
    from modhub.hub.mirror import release_contents

    client = Client({"it": backend}, store=Store(store))
    now = client.snapshot(collection)
    release_contents(client, now, now.index.releases)


def fetch_raw(backend: HuggingFaceBackend, collection: CollectionId, cache: Path) -> None:
    """Fetch every file by the Hub's client, which checks sizes."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    backend.api.snapshot_download(str(collection), cache_dir=cache)


def install(backend: HuggingFaceBackend, collection: CollectionId, store: Path) -> None:
    """Resolve all modules, fetch them, and verify every package."""
    workspace = Workspace(Client({"it": backend}, store=Store(store)))
    names = [
        str(collection.package(release.name))
        for release in workspace.client.index(collection).releases
        if release.kind == "module"
    ]
    workspace.install(workspace.resolve(names))
