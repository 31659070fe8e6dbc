"""Small catalogs for tests of the resolver, in few words: ``shop.delta("acme/pets/cat", "1.0.0", base="1.0.0")``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub.resolver.catalog import IndexCatalog, Listing
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import Index, Release
from modhub.spec.manifest import Dependency, Metric, Runtime
from modhub.spec.names import CollectionId, PackageId
from modhub.spec.ports import InputPort

if TYPE_CHECKING:
    from collections.abc import Iterable

RUNTIME = Runtime(opset={"": 20}, ir_version=10, onnxruntime=">=1.27")


def image(size: int = 32) -> InputPort:
    """Return the contract of square colour images."""
    shape = ("batch", 3, size, size)
    return InputPort(kind="image", dtype="float32", layout="NCHW", shape=shape, range=(0.0, 1.0), color="RGB")


def digest_of(name: str, version: str) -> str:
    """Return the digest of the manifest that a release of this name and version has here."""
    return sha256(f"{name} {version}".encode())


def files(form: str, *, size: int) -> dict[str, tuple[FileRecord, ...]]:
    """Return one form with one file."""
    return {form: (FileRecord(path=f"{form}.bin", size=size, sha256=sha256(f"{form} {size}".encode())),)}


def release(name: str, version: str, **changes: object) -> Release:
    """Return a standalone module of one class, with some fields changed."""
    package = PackageId.parse(name)
    plain = Release(
        name=package.name,
        version=version,
        kind="module",
        summary="",
        license="MIT",
        created="2026-11-21T00:00:00Z",
        manifest=FileRecord(path="module.json", size=1000, sha256=digest_of(name, version)),
        forms=files("standalone", size=100_000),
        classes=(package.name,),
        provides=(f"class:{package.name}",),
        input=image(),
        semantic="logit",
        calibrated=True,
        runtime=RUNTIME,
        parent=sha256(str(package.collection).encode()),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


class Shop:
    """Releases by collection, and the catalog of them all."""

    def __init__(self) -> None:
        self._releases: dict[CollectionId, list[Release]] = {}

    def add(self, name: str, version: str, **changes: object) -> None:
        """List a standalone module, with some fields changed."""
        self._releases.setdefault(PackageId.parse(name).collection, []).append(release(name, version, **changes))

    def base(self, name: str, *versions: str, **changes: object) -> None:
        """List versions of a base."""
        for version in versions:
            plain = {
                "kind": "base",
                "semantic": "logits",
                "provides": (),
                "forms": files("standalone", size=1_000_000),
                "parent": sha256(f"{name} {version}".encode()),
            }
            self.add(name, version, **{**plain, **changes})

    def delta(self, name: str, version: str, *, base: str, **changes: object) -> None:
        """List a module that is a delta over a version of the package `base` of its collection."""
        home = f"{PackageId.parse(name).collection}/base"
        need = Dependency(package="./base", version=f"=={base}", sha256=digest_of(home, base))
        parent = sha256(f"{home} {base}".encode())
        plain = {"dependencies": (need,), "forms": files("delta", size=4_000), "parent": parent}
        self.add(name, version, **{**plain, **changes})

    def catalog(self) -> IndexCatalog:
        """Return everything listed so far."""
        return IndexCatalog(_listing(collection, found) for collection, found in self._releases.items())


def measured(f1: float) -> dict[str, Metric]:
    """Return metrics with an interval that starts at this F1."""
    return {"f1": Metric(value=min(1.0, f1 + 0.01), low=f1, high=1.0)}


def _listing(collection: CollectionId, found: Iterable[Release]) -> Listing:
    index = Index().adding(found, previous=sha256(b""))
    return Listing(collection=collection, index=index, registry="memory:shop", revision="1")
