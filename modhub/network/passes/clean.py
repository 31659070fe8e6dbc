"""Removal of what has no effect."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Network, Node

NO_OPERATION = frozenset({"Identity", "Dropout"})


def drop_unused(network: Network) -> Network:
    """Return the network without nodes and arrays that the output does not depend on."""
    needed = {network.output}
    kept: list[Node] = []
    for node in reversed(network.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    arrays = {name: array for name, array in network.arrays.items() if name in needed}
    return network.replace(nodes=tuple(reversed(kept)), arrays=arrays)


def remove_identities(network: Network) -> Network:
    """Return the network without nodes that pass their input on: `Identity` and `Dropout` at inference."""
    source: dict[str, str] = {}
    kept: list[Node] = []
    for node in network.nodes:
        inputs = tuple(source.get(name, name) for name in node.inputs)
        if node.op in NO_OPERATION and node.outputs[0] != network.output:
            source[node.outputs[0]] = inputs[0]
        else:
            kept.append(dataclasses.replace(node, inputs=inputs))
    return _without_final_identity(network.replace(nodes=tuple(kept)))


def redirect(nodes: tuple[Node, ...], source: Mapping[str, str]) -> tuple[Node, ...]:
    """Return the nodes with the inputs named in `source` read from elsewhere."""
    return tuple(
        dataclasses.replace(node, inputs=tuple(source.get(name, name) for name in node.inputs)) for node in nodes
    )


def _without_final_identity(network: Network) -> Network:
    last = next((node for node in network.nodes if network.output in node.outputs), None)
    if last is None or last.op not in NO_OPERATION or last.inputs[0] not in network.producers():
        return network
    return network.replace(nodes=tuple(node for node in network.nodes if node is not last), output=last.inputs[0])
