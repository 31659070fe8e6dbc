"""Small valid packages of one decomposition, and the tools to damage them so that only the damage is wrong."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from modhub.composer.compose import Part, compose
from modhub.package.pack import Release, pack
from modhub.package.package import MANIFEST_FILE
from modhub.spec.digests import sha256
from tests.support.modules import random_decomposition
from tests.support.networks import Builder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from modhub.network.modules import Decomposition
    from modhub.network.network import Network
    from modhub.package.package import Package

CLASSES = ("cat", "dog", "bird")


@functools.cache
def small_network(*, seed: int = 0, side: int = 8) -> Network:
    """Return a classifier of three classes with a residual addition, a concatenation and a flattening."""
    builder = Builder(shape=(3, side, side), seed=seed)
    stream = builder.relu(builder.conv(builder.input, 4))
    stream = builder.relu(builder.add(stream, builder.conv(builder.relu(builder.conv(stream, 5)), 4)))
    pooled = builder.max_pool(builder.concat(stream, builder.conv(stream, 3, kernel=1)))
    return builder.build(builder.gemm(builder.relu(builder.gemm(builder.flatten(pooled), 6)), len(CLASSES)))


@functools.cache
def small_decomposition(*, seed: int = 0, network_seed: int = 0) -> Decomposition:
    """Return the small network split at random; an odd seed gives the modules MLP heads."""
    return random_decomposition(small_network(seed=network_seed), seed=seed, labels=CLASSES)


@functools.cache
def packages(
    *forms: str, seed: int = 0, network_seed: int = 0, version: str = "1.0.0", license: str = "MIT"
) -> tuple[Package, ...]:
    """Return the base and the three modules, in both forms unless some are named."""
    release = Release(version=version, license=license, labels=CLASSES, forms=forms or ("delta", "standalone"))
    return pack(small_decomposition(seed=seed, network_seed=network_seed), release)


def parts(*forms: str, seed: int = 0, network_seed: int = 0, collection: str = "acme/pets") -> list[Part]:
    """Return the three modules, ready to compose."""
    base, *modules = packages(*forms, seed=seed, network_seed=network_seed)
    return [Part(reference=f"{collection}/{module.name}", package=module, base=base) for module in modules]


@functools.cache
def composite() -> Package:
    """Return the three modules as one."""
    return compose(parts(), lock='version = "1"\n').package


def resealed(
    package: Package,
    changes: Mapping[str, bytes | None] | None = None,
    *,
    edit: Callable[[Any], object] | None = None,
) -> dict[str, bytes]:
    """Return a package's files with some changed (None removes one) and sizes and digests in the manifest put right.

    `edit` then changes the manifest's document in place.
    """
    files = {name: data for name, data in {**package.contents(), **(changes or {})}.items() if data is not None}
    document = json.loads(package.read(MANIFEST_FILE))
    for record in (*(record for records in document["forms"].values() for record in records), document["card"]):
        if record["path"] in files:
            data = files[record["path"]]
            record.update(size=len(data), sha256=sha256(data))
    if edit is not None:
        edit(document)
    return {**files, MANIFEST_FILE: json.dumps(document).encode()}


def with_header(data: bytes, edit: Callable[[Any], object]) -> bytes:
    """Return a safetensors file whose header's document was edited in place."""
    length = int.from_bytes(data[:8], "little")
    document = json.loads(data[8 : 8 + length])
    edit(document)
    return with_raw_header(data, json.dumps(document).encode())


def with_raw_header(data: bytes, header: bytes) -> bytes:
    """Return a safetensors file with another header."""
    length = int.from_bytes(data[:8], "little")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def delta_file(arrays: Mapping[str, np.ndarray[Any, Any]], **about: object) -> bytes:
    """Return a `delta.safetensors` for the small network, row 0, with these arrays and some words changed."""
    from safetensors.numpy import save

    parent = packages()[0].manifest.parent
    known = {"format": "modhub/delta@1", "base": parent and parent.sha256, "row": 0, "label": "cat", "head": "own"}
    text = json.dumps({key: value for key, value in {**known, **about}.items() if value is not None})
    return save(dict(arrays), metadata={"modhub": text})
