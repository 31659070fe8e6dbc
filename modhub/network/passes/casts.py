"""No conversions to the type that a value has already."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub.network.passes.clean import redirect
from modhub.network.shapes import infer_types

if TYPE_CHECKING:
    from modhub.network.network import Network


def remove_casts(network: Network) -> Network:
    """Return the network without casts that change nothing; a `CastLike` becomes a `Cast` or vanishes."""
    if not any(node.op in ("Cast", "CastLike") for node in network.nodes):
        return network
    types = infer_types(network)
    source: dict[str, str] = {}
    nodes = []
    for original in network.nodes:
        (node,) = redirect((original,), source)
        if node.op not in ("Cast", "CastLike"):
            nodes.append(node)
            continue
        wanted = node.integer("to", 0) if node.op == "Cast" else types[node.inputs[1]]
        if types[node.inputs[0]] == wanted:
            source[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(dataclasses.replace(node, op="Cast", inputs=node.inputs[:1], attributes={"to": wanted}))
    return network.replace(nodes=tuple(nodes), output=source.get(network.output, network.output))
