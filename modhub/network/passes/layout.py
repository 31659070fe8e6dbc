"""Images as NCHW, and no transposition that another one undoes.

Exporters of other frameworks keep the channels last and transpose around every convolution. The canonical input is
NCHW, whatever the parent was trained with, so that modules of different parents can take the same image.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub.network.network import Node
from modhub.network.passes.clean import drop_unused, redirect
from modhub.network.passes.names import fresh_name

if TYPE_CHECKING:
    from modhub.network.network import Network

TO_CHANNELS_LAST = (0, 2, 3, 1)


def channels_first(network: Network) -> Network:
    """Return the network taking its image as NCHW."""
    if network.input.layout != "NHWC":
        return network
    batch, height, width, channels = network.input.shape
    port = dataclasses.replace(network.input, layout="NCHW", shape=(batch, channels, height, width))
    name = fresh_name(f"{port.name}.nhwc", {port.name, *network.arrays, *network.producers()})
    front = Node(op="Transpose", inputs=(port.name,), outputs=(name,), attributes={"perm": TO_CHANNELS_LAST}, name=name)
    nodes = redirect(network.nodes, {port.name: name})
    return network.replace(nodes=(front, *nodes), input=port)


def merge_transposes(network: Network) -> Network:
    """Return the network with chains of transpositions as one, and without those that change nothing."""
    made: dict[str, tuple[str, tuple[int, ...]]] = {}
    source: dict[str, str] = {}
    nodes = []
    for original in network.nodes:
        (node,) = redirect((original,), source)
        if node.op != "Transpose" or "perm" not in node.attributes:
            nodes.append(node)
            continue
        first, order = made.get(node.inputs[0], (node.inputs[0], ()))
        perm = node.ints("perm", ())
        combined = tuple(order[axis] for axis in perm) if order else perm
        made[node.outputs[0]] = (first, combined)
        if combined == tuple(range(len(combined))) and node.outputs[0] != network.output:
            source[node.outputs[0]] = first
        else:
            nodes.append(dataclasses.replace(node, inputs=(first,), attributes={"perm": combined}))
    return drop_unused(network.replace(nodes=tuple(nodes)))
