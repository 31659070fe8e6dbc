"""Names that are safe to print, to store and to look up."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modhub.network.network import Network

UNSAFE = re.compile(r"[^A-Za-z0-9_./:-]")
MAX_NAME = 190
"""A package stores a mask as ``keep/NAME``, and array names there have at most 200 characters."""


def make_names_safe(network: Network) -> Network:
    """Return the network with every value, array and node name made of ``A-Za-z0-9_./:-`` and unique.

    A safe name is kept as it is, so that people find their own layers again. The first output of a node has a name even
    where nothing reads it, because nodes are told apart by it.
    """
    network = _with_first_outputs(network)
    network = rename(network, _safe(_all_names(network)))
    labels = _safe(node.name or node.outputs[0] for node in network.nodes)
    nodes = (dataclasses.replace(node, name=labels[node.name or node.outputs[0]]) for node in network.nodes)
    return network.replace(nodes=tuple(nodes))


def _with_first_outputs(network: Network) -> Network:
    taken = set(_all_names(network))
    nodes = (
        node
        if node.outputs[0]
        else dataclasses.replace(node, outputs=(fresh_name(f"{node.op}.first", taken), *node.outputs[1:]))
        for node in network.nodes
    )
    return network.replace(nodes=tuple(nodes))


def rename(network: Network, names: Mapping[str, str]) -> Network:
    """Return the network with values and arrays renamed; a taken target name moves the old holder aside."""
    mapping = dict(names)
    taken = set(_all_names(network))
    for old, new in names.items():
        if new != old and new in taken and new not in mapping:
            mapping[new] = fresh_name(f"{new}_", taken)
    nodes = tuple(
        dataclasses.replace(
            node,
            inputs=tuple(mapping.get(name, name) for name in node.inputs),
            outputs=tuple(mapping.get(name, name) for name in node.outputs),
        )
        for node in network.nodes
    )
    return network.replace(
        nodes=nodes,
        arrays={mapping.get(name, name): array for name, array in network.arrays.items()},
        input=dataclasses.replace(network.input, name=mapping.get(network.input.name, network.input.name)),
        output=mapping.get(network.output, network.output),
    )


def fresh_name(wish: str, taken: set[str]) -> str:
    """Return `wish`, or `wish` with the first free number behind it, and mark it as taken."""
    name, number = wish, 0
    while name in taken:
        number += 1
        name = f"{wish}{number}"
    taken.add(name)
    return name


def _all_names(network: Network) -> list[str]:
    made = [name for node in network.nodes for name in node.outputs if name]
    return [network.input.name, *network.arrays, *made]


def _safe(names: Iterable[str]) -> dict[str, str]:
    unique = list(dict.fromkeys(names))
    taken: set[str] = {name for name in unique if not UNSAFE.search(name) and 0 < len(name) <= MAX_NAME}
    result = {name: name for name in taken}
    for name in unique:
        if name not in result:
            result[name] = fresh_name(UNSAFE.sub("_", name)[: MAX_NAME - 10] or "value", taken)
    return result
