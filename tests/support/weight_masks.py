"""Class modules that mask single weights: random ones for the laws, and a parent trained on points."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.composer.part import Part
from modhub.datasets import Dataset
from modhub.engines.torch_engine import to_torch
from modhub.network.modules import ClassModule, Decomposition
from modhub.network.sites import find_sites
from modhub.package.pack import Release, pack
from modhub.package.verify import verify
from modhub.spec.manifest import Method
from modhub.spec.ports import Calibration
from tests.support.networks import Builder

if TYPE_CHECKING:
    from modhub.network.network import Network

INPUTS, HIDDEN, CLASSES = 20, (40, 24), 8
SPREAD = 1.1


def masked_weights(
    network: Network, *, seed: int = 0, share: float = 0.3, apart: float = 0.02, modules: int = 3
) -> Decomposition:
    """Return a decomposition whose modules keep about a `share` of all weights, and differ in `apart` of them."""
    random = np.random.default_rng(seed)
    arrays = {name: array for name, array in network.weights() if array.ndim > 1}
    common = {name: random.random(array.shape) < share for name, array in arrays.items()}
    classes = min(modules, int(network.output_shape[-1]))
    return Decomposition(
        parent=network,
        sites=find_sites(network),
        cut="",
        modules=tuple(
            ClassModule(
                label=f"class-{row}",
                row=row,
                weights={name: flags ^ (random.random(flags.shape) < apart) for name, flags in common.items()},
                calibration=Calibration(scale=1.5, offset=-0.25 * row, ece=0.01, data="test"),
            )
            for row in range(classes)
        ),
        method=Method(name="random", version="1", seed=seed),
    )


def parts_of(decomposition: Decomposition, *forms: str) -> list[Part]:
    """Return a decomposition's modules, packed, read again and ready to compose."""
    base, *modules = pack(decomposition, Release(forms=forms or ("delta",)))
    read = verify(base.files)
    return [
        Part(reference=f"acme/masks/{module.name}", package=verify(module.files, base=read), base=read)
        for module in modules
    ]


@functools.cache
def clusters(*, seed: int = 0, samples: int = 1600) -> Dataset:
    """Return points around a centre per class."""
    centres = np.random.default_rng(7).standard_normal((CLASSES, INPUTS))
    random = np.random.default_rng(seed)
    y = np.arange(samples) % CLASSES
    x = (centres[y] + SPREAD * random.standard_normal((samples, INPUTS))).astype(np.float32)
    return Dataset.of(x, y=y, classes=[f"c{i}" for i in range(CLASSES)], name=f"clusters-{seed}")


@functools.cache
def trained_parent(*, steps: int = 300) -> Network:
    """Return a small classifier that was trained on the points."""
    builder = Builder(shape=(INPUTS,), seed=0)
    value = builder.input
    for width in HIDDEN:
        value = builder.relu(builder.gemm(value, width))
    network = builder.build(builder.gemm(value, CLASSES))
    net, data = to_torch(network, trainable=True), clusters()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.labels)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(steps):
        rows = slice(200 * (step % 8), 200 * (step % 8) + 200)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.replace(arrays=net.arrays())
