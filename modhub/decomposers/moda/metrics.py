"""How large modules are and how much they share: as MODA's paper counts it, and more plainly.

The paper's overlap of two modules divides the weights they share by those of the *whole network*, so it can never
exceed a module's size, and small modules look distinct by construction. The Jaccard index divides by what the two have
together. Parameters say little about work, hence multiply-accumulates beside them.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.cost import macs
from modhub.network.passes.selection import is_selection
from modhub.network.slice import sliced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from modhub.network.modules import ClassModule, Decomposition
    from modhub.network.network import Array, Network
    from modhub.network.sites import Sites

    Flags = npt.NDArray[np.bool_]


def weights_of(network: Network) -> int:
    """Return how many weights a network has, matrices that only select channels left out."""
    return sum(array.size for _, array in _weights(network))


def weights_kept(network: Network, sites: Sites, module: ClassModule) -> int:
    """Return how many of the network's weights a module keeps, its own row of the classifier among them."""
    return weights_shared(network, sites, module, module)


def weights_shared(network: Network, sites: Sites, one: ClassModule, other: ClassModule) -> int:
    """Return how many of the network's weights two modules both keep."""
    sides = (axes_kept(sites, one), axes_kept(sites, other))
    total = 0
    for name, array in _weights(network):
        single = [module.weights[name] for module in (one, other) if name in module.weights]
        kept = [
            np.logical_and.reduce([side.get((name, axis), np.ones(size, np.bool_)) for side in sides])
            for axis, size in enumerate(array.shape)
        ]
        if single:
            total += int(np.logical_and.reduce(single)[np.ix_(*map(np.flatnonzero, kept))].sum())
        else:
            total += int(np.prod([own.sum() for own in kept], dtype=np.int64))
    return total


def axes_kept(sites: Sites, module: ClassModule) -> Mapping[tuple[str, int], Flags]:
    """Return for each array and axis that a module cuts which positions it keeps."""
    flags = sites.flags(sites.settle(module.kept), output_row=module.row)
    found: dict[tuple[str, int], Flags] = {}
    for use in sites.arrays:
        found.setdefault((use.array, use.axis), flags[use.channels])
    return found


def _weights(network: Network) -> Iterator[tuple[str, Array]]:
    return ((name, array) for name, array in network.weights() if not is_selection(name))


def module_size(network: Network, sites: Sites, module: ClassModule) -> float:
    """Return the paper's module size: weights kept over weights of the network."""
    return weights_kept(network, sites, module) / weights_of(network)


def module_overlap(network: Network, sites: Sites, one: ClassModule, other: ClassModule) -> float:
    """Return the paper's overlap: weights that both modules keep over weights of the network."""
    return weights_shared(network, sites, one, other) / weights_of(network)


def jaccard(network: Network, sites: Sites, one: ClassModule, other: ClassModule) -> float:
    """Return the weights that both modules keep over those that at least one of them keeps."""
    shared = weights_shared(network, sites, one, other)
    together = weights_kept(network, sites, one) + weights_kept(network, sites, other) - shared
    return shared / max(1, together)


def composed_size(network: Network, sites: Sites, modules: tuple[ClassModule, ...]) -> float:
    """Return the weights of the union of modules' channels, with a row of the classifier each, over the network's."""
    flags = np.zeros(sites.channel_count, dtype=np.bool_)
    for module in modules:
        flags |= sites.flags(sites.settle(module.kept), output_row=module.row)
    axes: dict[tuple[str, int], Flags] = {}
    for use in sites.arrays:
        axes.setdefault((use.array, use.axis), flags[use.channels])
    total = sum(
        int(np.prod([axes[name, a].sum() if (name, a) in axes else s for a, s in enumerate(array.shape)]))
        for name, array in _weights(network)
    )
    return total / weights_of(network)


def summary(split: Decomposition) -> dict[str, float]:
    """Return the means over modules and pairs of modules of every measure here, and of the work.

    ``size`` and ``overlap`` are the paper's; ``jaccard`` and ``macs`` (of a module cut out, over the network's) are the
    honest ones beside them.
    """
    network, sites, modules = split.parent, split.sites, split.modules
    whole, pairs = macs(network), list(combinations(modules, 2))
    return {
        "size": float(np.mean([module_size(network, sites, module) for module in modules])),
        "overlap": float(np.mean([module_overlap(network, sites, *pair) for pair in pairs])) if pairs else 0.0,
        "jaccard": float(np.mean([jaccard(network, sites, *pair) for pair in pairs])) if pairs else 0.0,
        "macs": float(np.mean([macs(sliced(network, sites, module)) / whole for module in modules])),
        "composed_size": composed_size(network, sites, modules),
    }
