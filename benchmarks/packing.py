"""Rows S2 and S5: packages written once the masks are known, and the bytes of a collection."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import resnet20
from benchmarks.drawn import drawn
from modhub import flow
from modhub.network.modules import ClassModule, Decomposition
from modhub.network.sites import find_sites
from modhub.package.pack import Release, pack
from modhub.spec.manifest import Method


def measure(*, full: bool) -> dict[str, Any]:
    """Return seconds and bytes for ten modules of a ResNet-20, and seconds for a hundred."""
    network = resnet20()
    sites = find_sites(network)
    behind = [site for site in sites.after(network, "relu_12") if site.layers]
    rows = []
    for count in (10, 100) if full else (10,):
        random = np.random.default_rng(0)
        modules = tuple(
            ClassModule(
                label=f"class-{i}",
                row=i % 10,
                kept=drawn(behind, random, count=lambda size: size // 2),
            )
            for i in range(count)
        )
        split = Decomposition(
            parent=network, sites=sites, cut="relu_12", modules=modules, method=Method(name="random", version="1")
        )
        rows += [_row(split, Release(forms=(form,)), form) for form in ("delta", "standalone")]
    parent = sum(len(part) for part in _parent_bytes(network))
    return {"parent_bytes": parent, "rows": [{**row, "of parent": round(row["bytes"] / parent, 3)} for row in rows]}


def _row(split: Decomposition, release: Release, form: str) -> dict[str, Any]:
    start = time.process_time()
    packages = pack(split, release)
    packed = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        start_wall = time.monotonic()
        flow.write_collection(packages, Path(folder) / "collection")
        written = time.monotonic() - start_wall
    return {
        "modules": len(split.modules),
        "form": form,
        "pack_seconds_cpu": round(packed, 3),
        "write_seconds": round(written, 3),
        "bytes": sum(package.size for package in packages),
    }


def _parent_bytes(network: Any) -> tuple[bytes, bytes]:
    from modhub.network.onnx_file import to_onnx

    return to_onnx(network)
