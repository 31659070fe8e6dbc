"""Row S6: resolving many modules of one base, where some lag behind the newest base."""

from __future__ import annotations

import time
from typing import Any

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

BASES = 6
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
    return {"bases": BASES, "rows": rows}


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
