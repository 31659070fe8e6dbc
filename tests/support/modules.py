"""Class modules with random masks: the worst case for anything that cuts or shares."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.modules import Affine, ClassModule, Decomposition, MlpHead, OwnHead
from modhub.network.sites import find_sites
from modhub.spec.manifest import Method
from modhub.spec.ports import Calibration

if TYPE_CHECKING:
    from modhub.network.network import Network
    from modhub.network.sites import Sites


def random_module(
    network: Network, sites: Sites, *, row: int = 0, seed: int = 0, cut: str = "", share: float = 0.5, label: str = ""
) -> ClassModule:
    """Return a module that keeps a random share of the channels of every site behind the cut, with random extras."""
    random = np.random.default_rng((seed, row))
    behind = sites.after(network, cut)
    kept = {
        site.id: np.sort(random.choice(site.size, max(1, round(share * site.size)), replace=False)) for site in behind
    }
    layers = {node.inputs[1] for node in network.nodes if node.op in ("Conv", "Gemm") and len(node.inputs) > 2}
    affine = {
        layer: Affine(scale=_floats(random, width) + 1, offset=_floats(random, width))
        for site in behind
        for layer in site.layers
        if layer in layers
        for width in [network.arrays[layer].shape[0]]
    }
    return ClassModule(
        label=label or f"class-{row}",
        row=row,
        kept=kept,
        affine=affine,
        head=OwnHead() if seed % 2 == 0 else random_head(int(network.output_shape[-1]), random),
        calibration=Calibration(scale=1.25, offset=-0.5, ece=0.01, data="test"),
    )


def with_random_weights(network: Network, module: ClassModule, *, seed: int = 0) -> ClassModule:
    """Return the module keeping a random half of the weights of every array with several axes."""
    random = np.random.default_rng(seed)
    arrays = {name: array for name, array in network.weights() if array.ndim > 1}
    return dataclasses.replace(module, weights={name: random.random(a.shape) < 0.5 for name, a in arrays.items()})


def random_head(classes: int, random: np.random.Generator) -> MlpHead:
    """Return an MLP head with random weights."""
    return MlpHead(
        first=_floats(random, 10, classes),
        first_bias=_floats(random, 10),
        second=_floats(random, 1, 10),
        second_bias=_floats(random, 1),
    )


def random_decomposition(
    network: Network, *, cut: str = "", seed: int = 0, labels: tuple[str, ...] = ()
) -> Decomposition:
    """Return a decomposition of a network into one random module per class."""
    sites = find_sites(network)
    rows = range(int(network.output_shape[-1]))
    names = labels or tuple(f"class-{row}" for row in rows)
    return Decomposition(
        parent=network,
        sites=sites,
        cut=cut,
        modules=tuple(random_module(network, sites, row=row, seed=seed, cut=cut, label=names[row]) for row in rows),
        method=Method(name="random", version="1", seed=seed),
    )


def _floats(random: np.random.Generator, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (random.standard_normal(shape) * 0.3).astype(np.float32)
