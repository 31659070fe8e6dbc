"""Small packages, their locks, and a look at a whole registry."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from modhub.hub.backend import INDEX_FILE
from modhub.hub.memory import MemoryBackend
from modhub.package.package import Package
from modhub.spec import limits
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import MANIFEST_FILE, Index
from modhub.spec.lock import Lock, LockedModule
from modhub.spec.manifest import ClassLabel, Dependency, Manifest, Method, Metric, Runtime
from modhub.spec.names import CollectionId
from modhub.spec.ports import InputPort, OutputPort

if TYPE_CHECKING:
    from modhub.hub.backend import Backend
    from modhub.hub.client import Snapshot
    from modhub.spec.index import Release

PETS = CollectionId("acme", "pets")
NOWHERE = Path("/dev/null/store")
"""A place where nothing can be stored, not even by root."""

IMAGE = InputPort(kind="image", dtype="float32", layout="NCHW", shape=("batch", 3, 8, 8), range=(0, 1), color="RGB")
RUNTIME = Runtime(opset={"": 20}, ir_version=10, onnxruntime=">=1.27")


def module(  # noqa: PLR0913  Every test says what it is about and no more.
    name: str = "cat",
    version: str = "1.0.0",
    *,
    content: bytes = b"weights",
    base: Package | None = None,
    label: str | None = None,
    summary: str = "",
    f1: float = 0.9,
    method: str = "gradsplitter",
    license: str = "MIT",
) -> Package:
    """Return a package that scores one class; its weights are `content`."""
    files = {"delta.safetensors": content, "model.onnx": b"graph of " + content}
    dependencies = () if base is None else (dependency_on(base),)
    manifest = Manifest(
        kind="module",
        name=name,
        version=version,
        summary=summary or f"Scores {name}",
        license=license,
        created="2026-01-01T00:00:00Z",
        classes=(ClassLabel(name=label or name),),
        input=IMAGE,
        output=OutputPort(name="score", shape=("batch", 1), semantic="logit", calibration=None),
        provides=(f"class:{name}",),
        dependencies=dependencies,
        runtime=RUNTIME,
        method=Method(name=method, version="1"),
        metrics={"f1": Metric(value=f1)},
        forms={"standalone": tuple(FileRecord.of(path, data=data) for path, data in files.items())},
    )
    return Package(manifest=manifest, files={**files, MANIFEST_FILE: manifest.to_json()})


def base_package(version: str = "1.0.0", *, content: bytes = b"parent") -> Package:
    """Return a base package."""
    files = {"weights.safetensors": content}
    manifest = Manifest(
        kind="base",
        name="base",
        version=version,
        summary="The parent",
        license="MIT",
        created="2026-01-01T00:00:00Z",
        classes=(ClassLabel(name="cat"), ClassLabel(name="dog")),
        input=IMAGE,
        output=OutputPort(name="logits", shape=("batch", 2), semantic="logits", calibration=None),
        runtime=RUNTIME,
        forms={"standalone": tuple(FileRecord.of(path, data=data) for path, data in files.items())},
    )
    return Package(manifest=manifest, files={**files, MANIFEST_FILE: manifest.to_json()})


def dependency_on(base: Package) -> Dependency:
    """Return the dependency of a module on the base of its collection."""
    return Dependency(package="./base", version=f"=={base.version}", sha256=sha256(base.read(MANIFEST_FILE)))


def locked(release: Release, *, registry: str, revision: str | None = None) -> LockedModule:
    """Return what a resolver writes into a lock for a release."""
    return LockedModule(
        name=str(PETS.package(release.name)),
        version=release.version,
        kind=release.kind,
        registry=registry,
        revision=revision,
        manifest_sha256=release.manifest.sha256,
        form="standalone",
        files=release.forms["standalone"],
        classes=release.classes,
        license=release.license,
    )


def lock_of(snapshot: Snapshot) -> Lock:
    """Return a lock of everything in a collection that has one version of each package."""
    modules = [
        locked(release, registry=snapshot.registry, revision=snapshot.revision) for release in snapshot.index.releases
    ]
    return Lock(created_by="tests", requirements=(), modules=tuple(modules), target=RUNTIME)


class CountingBackend(MemoryBackend):
    """A registry in memory that counts what it is asked."""

    def __init__(self, name: str = "memory:", *, remote: bool = False) -> None:
        super().__init__(name, remote=remote, append_only=True)
        self.asked: Counter[str] = Counter()
        self.counting = threading.Lock()

    def head(self, collection: CollectionId) -> str | None:
        with self.counting:
            self.asked["head"] += 1
        return super().head(collection)

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        with self.counting:
            self.asked["read"] += 1
        return super().read(collection, path, revision=revision, limit=limit)


def check_whole(backend: Backend, collection: CollectionId = PETS) -> Index:
    """Check that every listed release has all its files as promised, and return the index; an empty one if none."""
    if backend.head(collection) is None:
        return Index()
    index = Index.from_json(backend.read(collection, INDEX_FILE, revision=None, limit=limits.INDEX_BYTES))
    for release in index.releases:
        for record in (release.manifest, *release.files):
            path = f"{release.name}/{release.version}/{record.path}"
            data = backend.read(collection, path, revision=None, limit=record.size)
            assert sha256(data) == record.sha256, path
    return index
