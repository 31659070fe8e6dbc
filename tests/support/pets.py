"""A tiny classifier of four animals, split at random: packages that need no training, and data that fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub import flow
from modhub.package.pack import Release, pack
from tests.support.modules import random_decomposition
from tests.support.networks import Builder

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.network import Network
    from modhub.package.package import Package

CLASSES = ("cat", "dog", "horse", "bird")
COLLECTION = "acme/pets"
SHAPE = (3, 8, 8)


def pets_network(*, seed: int = 0, size: int = 8) -> Network:
    """Return the parent."""
    builder = Builder(shape=(3, size, size), seed=seed)
    value = builder.relu(builder.conv(builder.input, 8))
    value = builder.relu(builder.conv(value, 8, stride=2))
    return builder.build(builder.gemm(builder.flatten(value), len(CLASSES)))


def pets_packages(
    version: str = "1.0.0", *, seed: int = 0, forms: tuple[str, ...] = ("delta",), network: Network | None = None
) -> tuple[Package, ...]:
    """Return a base and a module per class; another seed gives other modules."""
    decomposition = random_decomposition(network or pets_network(), seed=seed, labels=CLASSES)
    return pack(decomposition, Release(version=version, license="MIT", labels=CLASSES, forms=forms))


def publish_pets(registry: Path, *versions: str, collection: str = COLLECTION) -> Path:
    """Publish a version of the packages for each given, and return the registry."""
    for seed, version in enumerate(versions):
        packages = pets_packages(version, seed=seed)
        flow.publish(packages, to=str(registry), collection=collection, store=registry.parent / "publisher")
    return registry


def pets_arrays(*, samples: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Return images with labels and class names, as an ``.npz`` holds them."""
    random = np.random.default_rng(seed)
    return {
        "x": random.random((samples, *SHAPE)).astype(np.float32),
        "y": np.arange(samples) % len(CLASSES),
        "classes": np.array(CLASSES),
    }


def write_pets_data(path: Path, **changes: np.ndarray) -> Path:
    """Write the images to an ``.npz`` file, some arrays replaced, and return its path."""
    np.savez(path, **{**pets_arrays(), **changes})  # type: ignore[arg-type]
    return path
