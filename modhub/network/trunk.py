"""Where a network can be cut in two: a trunk that modules share, and what comes after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import DecomposeError
from modhub.network.cost import node_macs
from modhub.network.passes.clean import drop_unused
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    from modhub.network.network import Network

NO_CUT = ""
"""The cut of a decomposition without a trunk: every layer may be cut, the papers' own setting."""


@dataclass(frozen=True, kw_only=True)
class CutPoint:
    """A value that everything after it depends on, and nothing before it bypasses.

    `trunk_macs` and `tail_macs` are multiply-accumulates for one input; `tail_weights` counts array elements.
    """

    value: str
    nodes: int
    trunk_macs: int
    tail_macs: int
    tail_weights: int

    @property
    def tail_share(self) -> float:
        """Share of the network's multiply-accumulates that the tail holds, from 0 to 1."""
        return self.tail_macs / max(1, self.trunk_macs + self.tail_macs)


def cut_points(network: Network) -> tuple[CutPoint, ...]:
    """Return every place where the network can be cut, from input to output.

    A place is a value that alone crosses from the nodes before it to those after it, with a layer on both sides. Of
    places without a layer between them, only the last counts: an activation belongs to the trunk.
    """
    last_use = {name: i for i, node in enumerate(network.nodes) for name in node.inputs}
    costs = node_macs(network, infer_shapes(network))
    points: list[CutPoint] = []
    live = {network.input.name}
    for i, node in enumerate(network.nodes[:-1]):
        live.update(name for name in node.outputs if last_use.get(name, -1) > i)
        live = {name for name in live if last_use.get(name, -1) > i}
        if len(live) == 1 and live != {network.input.name} and any(costs[: i + 1]) and any(costs[i + 1 :]):
            point = _point(network, next(iter(live)), i + 1, costs)
            if points and points[-1].trunk_macs == point.trunk_macs:
                points.pop()
            points.append(point)
    return tuple(points)


def _point(network: Network, value: str, nodes: int, costs: list[int]) -> CutPoint:
    tail_arrays = {name for node in network.nodes[nodes:] for name in node.inputs if name in network.arrays}
    weights = sum(network.arrays[name].size for name in tail_arrays if network.arrays[name].dtype.kind == "f")
    return CutPoint(
        value=value,
        nodes=nodes,
        trunk_macs=sum(costs[:nodes]),
        tail_macs=sum(costs[nodes:]),
        tail_weights=weights,
    )


def trunk_size(network: Network, cut: str) -> int:
    """Return how many of the network's leading nodes form the trunk that ends at `cut`.

    Raises:
        DecomposeError: `cut` names no place where the network can be cut.
    """
    if cut == NO_CUT:
        return 0
    points = {point.value: point.nodes for point in cut_points(network)}
    if cut not in points:
        raise DecomposeError(f"cannot cut at {cut!r}: the places where this network can be cut are {', '.join(points)}")
    return points[cut]


def trunk_of(network: Network, cut: str) -> Network:
    """Return the part of the network that ends at `cut`, with that value as its output."""
    shape = infer_shapes(network)[cut]
    return drop_unused(network.replace(output=cut, output_shape=shape, metadata={}))


def computed_from(network: Network, start: str) -> set[str]:
    """Return the values that can be computed from one value and arrays alone, itself among them."""
    known = {start, "", *network.arrays}
    for node in network.nodes:
        if known.issuperset(node.inputs):
            known.update(node.outputs)
    return known - set(network.arrays) - {""}
