"""The choice of the trunk's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.decomposers.options import AUTO
from modhub.decomposers.rows import Rows, rows_of
from modhub.errors import DecomposeError
from modhub.network.trunk import NO_CUT, cut_points

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Network
    from modhub.network.sites import Site, Sites

FIRST = Rows(0)
"""What a cut's value looks like: outputs of the trunk are cached a sample a row."""

TAIL_WEIGHTS = 0.6
"""Least share of the weights that must lie behind an automatic cut, where masks can act on them."""

CHEAP = "cheap"
MODULES, KEPT, COST = 10, 0.5, 1.7
"""A cheap cut: so many modules that keep this share of what is behind it cost at most so many times their parent."""


def choose_cut(network: Network, sites: Sites, wish: str) -> tuple[str, tuple[Site, ...]]:
    """Return the cut and the sites with layers that masks can act on behind it.

    ``auto`` takes the latest cut behind which at least 60 % of the weights lie: early layers hold few weights and lose
    hardly a kernel in any published system, but cost most of the work, so sharing them makes modules small, training
    fast and composites cheap. Networks whose first layer holds most weights (small MLPs) get no trunk.

    ``cheap`` takes the earliest cut behind which so little is computed that ten modules composed cost at most 1.7 times
    their parent, if they keep half of it. Modules have less to drop there, so that less is lost, and a module alone
    costs more.

    Raises:
        DecomposeError: the wish names no possible cut, the samples are not along the first axis there, or nothing
            behind it can be masked.
    """
    if wish == "none":
        return NO_CUT, _maskable(sites, network, NO_CUT)
    rows = rows_of(network)
    if wish not in (AUTO, CHEAP):
        maskable = _maskable(sites, network, wish)
        if rows.get(wish, FIRST) != FIRST:
            raise DecomposeError(f"cannot cut at {wish!r}: the samples are not along its first axis, choose another")
        return wish, maskable
    if wish == CHEAP:
        cut = _cheap(network, sites, rows)
        return cut, _maskable(sites, network, cut)
    weights = sum(array.size for name, array in network.weights())
    candidates = [p for p in cut_points(network) if p.tail_weights >= TAIL_WEIGHTS * weights and rows[p.value] == FIRST]
    for point in reversed(candidates):
        if any(site.layers for site in sites.after(network, point.value)):
            return point.value, _maskable(sites, network, point.value)
    return NO_CUT, _maskable(sites, network, NO_CUT)


def _cheap(network: Network, sites: Sites, rows: Mapping[str, Rows]) -> str:
    """Return the earliest cut that is cheap, else the latest behind which masks can act."""
    possible = [
        point
        for point in cut_points(network)
        if rows[point.value] == FIRST and any(site.layers for site in sites.after(network, point.value))
    ]
    cheap = [point for point in possible if 1 + (MODULES * KEPT - 1) * point.tail_share <= COST]
    return cheap[0].value if cheap else possible[-1].value if possible else NO_CUT


def _maskable(sites: Sites, network: Network, cut: str) -> tuple[Site, ...]:
    found = tuple(site for site in sites.after(network, cut) if site.layers)
    if not found:
        reasons = "; ".join(f"{site.id}: {site.pinned}" for site in sites.sites if site.pinned)
        place = f"behind {cut!r}" if cut else "in this network"
        raise DecomposeError(f"there is nothing to mask {place}: no layer's channels can be cut ({reasons})")
    return found
