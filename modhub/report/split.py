"""`Split`: class modules as masks over one parent, however they were come by, and what they keep of its arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.modules import kernels
from modhub.network.report import moves_channels
from modhub.network.trunk import NO_CUT, cut_points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from modhub.network.modules import Channels, ClassModule, Decomposition
    from modhub.network.network import Network
    from modhub.network.sites import Site, Sites

    Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Split:
    """A parent, its sites, and class modules over it.

    Args:
        parent: the network that the masks are over.
        sites: its sites.
        behind: the sites that masks may act on, all of them behind the trunk.
        modules: the class modules, their masks settled.
    """

    parent: Network
    sites: Sites
    behind: tuple[Site, ...]
    modules: tuple[ClassModule, ...]

    @classmethod
    def of(cls, decomposition: Decomposition) -> Split:
        """Return what a decomposition's modules keep."""
        return cls(
            parent=decomposition.parent,
            sites=decomposition.sites,
            behind=decomposition.sites.after(decomposition.parent, decomposition.cut),
            modules=decomposition.modules,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The classes of the modules."""
        return tuple(module.label for module in self.modules)

    @property
    def has_weight_masks(self) -> bool:
        """Whether a module masks single weights."""
        return any(module.weights for module in self.modules)

    @cached_property
    def flags(self) -> Flags:
        """Which channels each module keeps, ``[modules, channels]``, counted over all sites."""
        none = np.ones((0, self.sites.channel_count), dtype=np.bool_)
        return np.stack([self.sites.flags(self.sites.settle(m.kept)) for m in self.modules]) if self.modules else none

    @cached_property
    def axes(self) -> Mapping[str, Mapping[int, Channels]]:
        """The channels along the axes of each of the parent's arrays of weights; other axes are always whole."""
        found: dict[str, dict[int, Channels]] = {}
        for use in self.sites.arrays:
            found.setdefault(use.array, {}).setdefault(use.axis, use.channels)
        return {name: found.get(name, {}) for name, _ in self.parent.weights() if not moves_channels(name)}

    def bits(self, module: ClassModule, number: int, array: str) -> Flags:
        """Return which elements of an array a module keeps, of the array's shape; `number` is the module's position."""
        shape = self.parent.arrays[array].shape
        flags = module.weights[array].copy() if array in module.weights else np.ones(shape, dtype=np.bool_)
        for axis, channels in self.axes[array].items():
            own = [1] * len(shape)
            own[axis] = shape[axis]
            flags &= self.flags[number, channels].reshape(own)
        return flags

    def weights_kept(self, array: str) -> npt.NDArray[np.int64]:
        """Return how many elements of an array each module keeps, ``[modules]``."""
        shape, axes = self.parent.arrays[array].shape, self.axes[array]
        whole = math.prod(size for axis, size in enumerate(shape) if axis not in axes)
        counts = np.full(len(self.modules), whole, dtype=np.int64)
        for channels in axes.values():
            counts *= self.flags[:, channels].sum(axis=1)
        for number, module in enumerate(self.modules):
            if array in module.weights:
                counts[number] = self.bits(module, number, array).sum()
        return counts


def sites_behind(
    network: Network, sites: Sites, *, total: int | None, modules: Sequence[ClassModule]
) -> tuple[Site, ...]:
    """Return the sites that masks could act on, where only packages are left to tell.

    Args:
        network: the parent.
        sites: its sites.
        total: how many kernels and neurons were behind the trunk, as packages record it; None where they do not.
        modules: class modules; where `total` fits no place of a cut, the sites that any of them cuts are returned.
    """
    # The further back the trunk ends, the fewer kernels are behind it.
    cuts = [NO_CUT, *(point.value for point in cut_points(network))]
    first, last = 0, len(cuts) - 1
    while total is not None and first <= last:
        middle = (first + last) // 2
        behind = sites.after(network, cuts[middle])
        found = kernels(behind)
        if found == total:
            return behind
        first, last = (middle + 1, last) if found > total else (first, middle - 1)
    cut = {site for module in modules for site, channels in module.kept.items() if len(channels) < sites[site].size}
    return tuple(site for site in sites.sites if site.id in cut)
