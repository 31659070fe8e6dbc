"""What parts are made of: a base, its sites, and masks, where they travel as deltas.

The union of modules and packed masks need the masks themselves; a module that travels standalone has lost them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import ComposeError
from modhub.network.slice import sliced
from modhub.package.delta import DELTA_FILE
from modhub.package.materialise import open_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.composer.part import Part
    from modhub.network.modules import Channels, ClassModule, Flags
    from modhub.network.network import Array, Network
    from modhub.network.sites import Sites


@dataclass(frozen=True, kw_only=True)
class Source:
    """A module before it is cut out: its base, the base's sites, and its masks."""

    network: Network
    sites: Sites
    module: ClassModule

    def materialised(self) -> Network:
        """Return the module as a network of its own."""
        return sliced(self.network, self.sites, self.module)


def has_masks(part: Part) -> bool:
    """Tell whether a part is a delta whose base is at hand."""
    return part.base is not None and DELTA_FILE in part.package.files


def sources_of(parts: Sequence[Part]) -> list[Source]:
    """Return parts of one base as what they are made of, over a base with all weights that any of them keeps.

    Raises:
        ComposeError: a part is no delta, or two of them bring different weights to one place.
        FormatError: a package's files do not fit together.
    """
    opened = []
    for part in parts:
        if part.base is None or not has_masks(part):
            raise ComposeError(f"{part.label} travels without its masks: this needs its form 'delta' and its base")
        opened.append((part, *open_module(part.package, part.base)))
    network = opened[0][1]
    for part, own, _, _ in opened[1:]:
        network = network.replace(arrays=_joined(network, own, part))
    return [Source(network=network, sites=sites, module=module) for _, _, sites, module in opened]


def _joined(network: Network, other: Network, part: Part) -> Mapping[str, Array]:
    """Return the arrays of two networks of one base, each with weights where the other may have zeros."""
    changed = {}
    for name, array in other.arrays.items():
        mine = network.arrays[name]
        if mine is array or array.dtype.kind != "f":
            continue
        if bool(((mine != array) & (mine != 0) & (array != 0)).any()):
            raise ComposeError(f"{part.label} brings other weights to {name!r} than the modules before it")
        changed[name] = np.where(mine == 0, array, mine)
    return {**network.arrays, **changed}


def united(sources: Sequence[Source]) -> list[Source]:
    """Return modules that all keep what any of them keeps, so that joined they are one network with a row for each.

    Raises:
        ComposeError: they scale or shift a layer, each in its own way.
    """
    modules = [source.module for source in sources]
    for module in modules[1:]:
        if not _same_affine(modules[0], module):
            problem = f"{modules[0].label!r} and {module.label!r} scale the channels of a layer differently"
            raise ComposeError(f"these modules have no union: {problem}; use the strategy 'trunk'")
    kept, weights = _united_channels(modules), _united_weights(modules)
    return [
        dataclasses.replace(source, module=dataclasses.replace(source.module, kept=kept, weights=weights))
        for source in sources
    ]


def _same_affine(one: ClassModule, other: ClassModule) -> bool:
    return set(one.affine) == set(other.affine) and all(
        np.array_equal(affine.scale, other.affine[layer].scale)
        and np.array_equal(affine.offset, other.affine[layer].offset)
        for layer, affine in one.affine.items()
    )


def _united_channels(modules: Sequence[ClassModule]) -> dict[str, Channels]:
    """Return the channels that any module keeps; a site that one of them keeps whole is whole."""
    sites = set.intersection(*(set(module.kept) for module in modules))
    return {site: np.unique(np.concatenate([module.kept[site] for module in modules])) for site in sorted(sites)}


def _united_weights(modules: Sequence[ClassModule]) -> dict[str, Flags]:
    names = set.intersection(*(set(module.weights) for module in modules))
    return {name: np.logical_or.reduce([module.weights[name] for module in modules]) for name in sorted(names)}


def union_density(sources: Sequence[Source]) -> float:
    """Return the share of the masked weights that any of the modules keeps, 1 where none masks weights."""
    masks = _united_weights([source.module for source in sources])
    total = sum(flags.size for flags in masks.values())
    return sum(int(flags.sum()) for flags in masks.values()) / total if total else 1.0
