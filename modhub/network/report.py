"""What can be cut in a network and what cannot, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modhub.network.passes.selection import PREFIX, is_selection
from modhub.network.sites import LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modhub.network.network import Network
    from modhub.network.sites import Site, Sites

WORDS = {
    "Conv": "conv",
    "ConvTranspose": "deconv",
    "Gemm": "fc",
    "MatMul": "fc",
    "LSTM": "lstm",
    "GRU": "gru",
    "RNN": "rnn",
    "Gather": "embed",
}
"""What the layers of an operator are called for short."""


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


def short_names(network: Network, sites: Sites) -> list[str]:
    """Return a short name per site, ``conv 3`` for the third convolution's, because exporters' names say little.

    Layers of one kind are numbered in the network's order. A site that several layers make is called by the first; one
    that no layer makes is a ``pad``, a stream that was widened with zeros.
    """
    operators = {
        node.inputs[LAYERS[node.op]]: node.op
        for node in network.nodes
        if node.op in LAYERS and len(node.inputs) > LAYERS[node.op]
    }
    counts: dict[str, int] = {}
    names = []
    for site in sites.sites:
        made = [layer for layer in site.layers if not moves_channels(layer)]
        word = WORDS.get(operators.get(made[0], ""), "layer") if made else "pad"
        counts[word] = counts.get(word, 0) + 1
        names.append(f"{word} {counts[word]}")
    return names


def moves_channels(array: str) -> bool:
    """Tell whether an array is a selection, which moves channels and weighs nothing; a composite prefixes its name."""
    return is_selection(array) or f"/{PREFIX}" in array


def pinned_reasons(sites: Iterable[Site]) -> dict[str, tuple[Site, ...]]:
    """Return the sites that cannot be cut, by the reason, most channels first."""
    found: dict[str, list[Site]] = {}
    for site in sites:
        if site.pinned:
            found.setdefault(site.pinned, []).append(site)
    ordered = sorted(found.items(), key=lambda item: -sum(site.size for site in item[1]))
    return {reason: tuple(of_it) for reason, of_it in ordered}


def pinned_sentence(sites: Sites, *, most: int = 2) -> str:
    """Return in a sentence how many sites can be cut, and what is pinned and why; at most so many reasons."""
    free = sum(not site.pinned for site in sites.sites)
    reasons = [
        f"{_count(len(of_it), 'site')} of {_count(sum(site.size for site in of_it), 'channel')} ({reason})"
        for reason, of_it in pinned_reasons(sites.sites).items()
    ]
    more = f"; and for {_count(len(reasons) - most, 'more reason')}" if len(reasons) > most else ""
    text = f"{free} of {_count(len(sites.sites), 'site')} can be cut"
    return f"{text}; pinned: {'; '.join(reasons[:most])}{more}" if reasons else text


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"
