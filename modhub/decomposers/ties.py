"""Which channels are kept or dropped together, where those of a residual stream are tied as in the papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.sites import Site, Sites


def tied_columns(sites: Sites, maskable: Sequence[Site]) -> tuple[torch.Tensor, int]:
    """Return for each column of a mask the number of the free choice behind it, and how many of these there are.

    Channels that a residual addition puts onto each other are kept or dropped together.
    """
    column: dict[int, int] = {}
    for site in maskable:
        first, start = sites.offsets[site.id], len(column)
        column.update({first + i: start + i for i in range(site.size)})
    parent = list(range(len(column)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for branch in sites.branches:
        if branch.stream is not None:
            for channel, below in zip(branch.channels.tolist(), branch.stream.tolist(), strict=True):
                if channel in column and below in column:
                    one, other = sorted((root(column[channel]), root(column[below])))
                    parent[other] = one
    roots = [root(number) for number in range(len(parent))]
    numbers = {found: i for i, found in enumerate(dict.fromkeys(roots))}
    return torch.tensor([numbers[found] for found in roots]), len(numbers)


def with_streams(sites: Sites, maskable: Sequence[Site], *, behind: Sequence[Site]) -> tuple[Site, ...]:
    """Return the sites that masks act on, and with them the streams that their layers are added to.

    A stream that no layer of its own begins, as behind a shortcut without weights, is masked where its branches are.

    Args:
        sites: the network's sites.
        maskable: those with layers.
        behind: all that lie behind the trunk, in their order.
    """
    number = np.repeat(np.arange(len(sites.sites)), [site.size for site in sites.sites])
    position = {site.id: i for i, site in enumerate(sites.sites)}
    wanted = {position[site.id] for site in maskable}
    possible = {position[site.id] for site in behind if not site.pinned}
    for branch in sites.branches:
        if branch.stream is not None and not wanted.isdisjoint(number[branch.channels].tolist()):
            wanted |= possible & set(number[branch.stream].tolist())
    return tuple(site for site in sites.sites if position[site.id] in wanted)
