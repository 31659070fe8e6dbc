"""Masks drawn at random, where what a module keeps does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modhub.network.modules import Channels
    from modhub.network.sites import Site


def drawn(sites: Iterable[Site], random: np.random.Generator, *, count: Callable[[int], int]) -> dict[str, Channels]:
    """Return for each site the channels to keep, sorted: as many of them as `count` says for its size."""
    return {site.id: np.sort(random.choice(site.size, count(site.size), replace=False)) for site in sites}
