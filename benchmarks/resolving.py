"""Row S6: resolving many modules of one base, where some lag behind; and 50 of 10,000 packages."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.resolver.catalog import IndexCatalog, Listing
from modhub.resolver.resolution import Resolution
from modhub.resolver.solve import solve
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import Index, Release
from modhub.spec.manifest import Dependency, Runtime
from modhub.spec.names import CollectionId
from modhub.spec.ports import InputPort
from modhub.spec.requirements import parse_requirement

if TYPE_CHECKING:
    from modhub.resolver.catalog import Candidate
    from modhub.spec.names import PackageId

BASES = 6
MODULES, VERSIONS, ROOTS = 19, 20, 50
OWNER = "bench"
COLLECTION = "bench/many"
PORT = InputPort(kind="features", dtype="float32", shape=("batch", 8))
RUNTIME = Runtime(opset={"": 20}, ir_version=10, onnxruntime=">=1.27")


def measure(*, full: bool) -> dict[str, Any]:
    """Return CPU seconds for the normal request: n modules that must agree on one base."""
    rows = []
    for count in (10, 30, 100) if full else (10, 30):
        catalog = IndexCatalog([listing(count)])
        wanted = [parse_requirement(f"{COLLECTION}/class-{i}") for i in range(count)]
        times = []
        for _ in range(5):
            start = time.process_time()
            answer = solve(catalog, wanted)
            times.append(time.process_time() - start)
        rows.append(
            {
                "modules": count,
                "solved": isinstance(answer, Resolution),
                "seconds_cpu": round(float(np.median(times)), 4),
            }
        )
    return {"bases": BASES, "rows": rows, "registry": _registry(packages=10_000 if full else 1_000)}


def _registry(*, packages: int) -> dict[str, Any]:
    """Return CPU seconds for 50 roots in a registry of many packages with 20 versions each.

    Collections are made when they are asked for, as a registry's are read; making them is not counted, reading their
    indexes is, apart.
    """
    catalog = Registry(packages // (MODULES + 1))
    chance = random.Random(0)  # noqa: S311  No secret.
    wanted = [
        parse_requirement(
            f"{OWNER}/c{chance.randrange(catalog.count)}/m{module % MODULES}{chance.choice(('', '<18', '>=3'))}"
        )
        for module in range(ROOTS)
    ]
    answer = solve(catalog, wanted)
    times = []
    for _ in range(5):
        start = time.process_time()
        answer = solve(catalog, wanted)
        times.append(time.process_time() - start)
    documents = [each.index.to_json() for each in catalog.made.values()]
    start = time.process_time()
    for document in documents:
        Index.from_json(document)
    return {
        "packages": packages,
        "versions": VERSIONS,
        "roots": ROOTS,
        "collections": catalog.count,
        "collections read": len(documents),
        "packages in the answer": len(answer.chosen) if isinstance(answer, Resolution) else 0,
        "solved": isinstance(answer, Resolution),
        "seconds_cpu": round(float(np.median(times)), 4),
        "seconds_cpu to read the indexes": round(time.process_time() - start, 3),
    }


class Registry:
    """Collections of a base and many modules, of which some need a module of another collection."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.made: dict[CollectionId, Listing] = {}

    def releases(self, package: PackageId, *, origin: str | None = None) -> tuple[Candidate, ...]:
        """Return the releases of a package."""
        if package.collection not in self.made:
            self.made[package.collection] = self._made(package.collection)
        return IndexCatalog([self.made[package.collection]]).releases(package, origin=origin)

    def providers(self, capability: str, *, origin: str | None = None) -> tuple[PackageId, ...]:
        """Return nothing: no class is asked for."""
        del capability, origin
        return ()

    def _made(self, collection: CollectionId) -> Listing:
        number = int(collection.name.removeprefix("c"))
        releases = [_release("base", "base", f"{version}.0.0", version) for version in range(1, VERSIONS + 1)]
        for module in range(MODULES):
            lag = (module + number) % 3
            for version in range(1, VERSIONS + 1):
                release = _release("module", f"m{module}", f"{version}.0.0", max(1, version - lag))
                release = _labelled(release, number)
                releases.append(self._related(release, number, module) if (module + number) % 5 == 0 else release)
        ordered = tuple(sorted(releases, key=lambda release: (release.name, release.number)))
        index = Index(revision=1, previous=sha256(b""), releases=ordered)
        return Listing(collection=collection, index=index, registry="memory:")

    def _related(self, release: Release, number: int, module: int) -> Release:
        """Return a module that needs the same version of another one, further on."""
        version = release.version
        need = Dependency(
            package=f"{OWNER}/c{(number + 7) % self.count}/m{(module + 1) % MODULES}",
            version=f"=={version}",
            sha256=sha256(f"m{(module + 1) % MODULES} {version}".encode()),
        )
        return dataclasses.replace(release, dependencies=(*release.dependencies, need))


def _labelled(release: Release, number: int) -> Release:
    """Return a release that scores a class of its own collection: no two parts of a model score one class."""
    return dataclasses.replace(release, classes=(f"{release.name} of {number}",))


def listing(count: int) -> Listing:
    """Return a collection with a release of each module per base; every third module lacks the newest base."""
    releases = [_release("base", "base", f"{base}.0.0", base) for base in range(1, BASES + 1)]
    for i in range(count):
        newest = BASES - 1 if i % 3 == 0 else BASES
        releases += [_release("module", f"class-{i}", f"{base}.0.0", base) for base in range(1, newest + 1)]
    ordered = tuple(sorted(releases, key=lambda release: (release.name, release.number)))
    index = Index(revision=1, previous=sha256(b""), releases=ordered)
    return Listing(collection=CollectionId.parse(COLLECTION), index=index, registry="memory:")


def _release(kind: str, name: str, version: str, base: int) -> Release:
    module = kind == "module"
    digest = sha256(f"{name} {version}".encode())
    need = Dependency(package="./base", version=f"=={base}.0.0", sha256=sha256(f"base {base}.0.0".encode()))
    form = "delta" if module else "standalone"
    return Release(
        name=name,
        version=version,
        kind=kind,
        summary="",
        license="MIT",
        created="2026-11-21T00:00:00Z",
        manifest=FileRecord(path="module.json", size=1000, sha256=digest),
        forms={form: (FileRecord(path=f"{form}.bin", size=1000, sha256=digest),)},
        classes=(name,),
        provides=(f"class:{name}",) if module else (),
        dependencies=(need,) if module else (),
        input=PORT,
        semantic="logit" if module else "logits",
        calibrated=module,
        runtime=RUNTIME,
        parent=sha256(f"parent {base}".encode()),
    )
