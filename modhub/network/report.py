"""What can be cut in a network and what cannot, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modhub.network.sites import Site, Sites


def describe(sites: Sites) -> list[dict[str, Any]]:
    """Return one plain dictionary per site, in the network's order.

    Keys: `site` (its id), `kind` (``kernels`` of convolutions, or ``units``), `channels` (how many it has), `layers`
    (the weights whose rows make them) and `pinned` (why none is ever cut; None where they can be).
    """
    return [_described(site) for site in sites.sites]


def _described(site: Site) -> dict[str, Any]:
    return {
        "site": site.id,
        "kind": "kernels" if site.spatial else "units",
        "channels": site.size,
        "layers": list(site.layers),
        "pinned": site.pinned or None,
    }
