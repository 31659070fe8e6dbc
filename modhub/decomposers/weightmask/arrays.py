"""The arrays that weight masks act on, and the trunk before them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modhub.decomposers.options import AUTO
from modhub.decomposers.rows import Rows, rows_of
from modhub.errors import DecomposeError
from modhub.network.passes.selection import PREFIX
from modhub.network.trunk import NO_CUT, cut_points, trunk_size

if TYPE_CHECKING:
    from modhub.network.network import Network, Node

RECURRENT = ("LSTM", "GRU", "RNN")
WEIGHTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1,),
    "MatMul": (0, 1),
    **dict.fromkeys(RECURRENT, (1, 2)),
}
"""Which inputs of a layer are its weights. Biases, norms and embeddings are never masked: all modules share them."""

FIRST = Rows(0)
"""How a cut's value lies: outputs of the trunk are cached a sample a row."""

TAIL_WEIGHTS = 0.75
"""Least share of the weights that must lie behind an automatic cut, where masks act on them."""


def maskable_arrays(network: Network, cut: str = NO_CUT) -> tuple[str, ...]:
    """Return the weights that masks act on behind a cut: those of every layer but the classifier, in the graph's order.

    Weights that the trunk reads too, or that are read as something else, stay whole.

    Raises:
        DecomposeError: `cut` is no place where the network can be cut.
    """
    first, last = trunk_size(network, cut), _classifier(network)
    places = [(i, place) for i, node in enumerate(network.nodes) for place in weight_places(network, node)]
    names = dict.fromkeys(network.nodes[i].inputs[place] for i, place in places if i >= first and i not in last)
    readers = network.consumers()
    return tuple(name for name in names if all(use in places and use[0] >= first for use in readers[name]))


def weight_places(network: Network, node: Node) -> tuple[int, ...]:
    """Return the inputs of a node that are learned weights."""
    return tuple(
        place
        for place in WEIGHTS.get(node.op, ())
        if place < len(node.inputs) and _is_learned(network, node.inputs[place])
    )


def _is_learned(network: Network, name: str) -> bool:
    array = network.arrays.get(name)
    return array is not None and array.dtype.kind == "f" and array.ndim > 1 and not name.startswith(PREFIX)


def _classifier(network: Network) -> set[int]:
    """Return the layers that make the logits: none of them feeds another layer."""
    producers, found = network.producers(), set()
    pending, seen = [network.output], set()
    while pending:
        name = pending.pop()
        if name not in producers or name in seen:
            continue
        seen.add(name)
        node = network.nodes[producers[name]]
        if weight_places(network, node):
            found.add(producers[name])
        else:
            pending.extend(node.inputs)
    return found


def choose_weights(network: Network, wish: str) -> tuple[str, tuple[str, ...]]:
    """Return the cut and the arrays that masks act on behind it.

    ``auto`` takes the latest cut behind which at least three quarters of the maskable weights lie.

    Raises:
        DecomposeError: the wish names no possible cut, or there is no weight behind it that a mask could drop.
    """
    cut = _automatic(network) if wish == AUTO else NO_CUT if wish == "none" else wish
    names = maskable_arrays(network, cut)
    if cut and rows_of(network).get(cut, FIRST) != FIRST:
        raise DecomposeError(f"cannot cut at {cut!r}: the samples are not along its first axis, choose another")
    if not names:
        place = f"behind {cut!r}" if cut else "in this network"
        raise DecomposeError(f"there is nothing to mask {place}: the classifier is the only layer with weights")
    return cut, names


def _automatic(network: Network) -> str:
    sizes = {name: network.arrays[name].size for name in maskable_arrays(network)}
    rows = rows_of(network)
    for point in reversed([point for point in cut_points(network) if rows.get(point.value, FIRST) == FIRST]):
        behind = maskable_arrays(network, point.value)
        if behind and sum(sizes[name] for name in behind) >= TAIL_WEIGHTS * sum(sizes.values()):
            return point.value
    return NO_CUT


def fan_in(network: Network, name: str) -> int:
    """Return how many inputs one output of a layer adds up, for its weights."""
    shape = network.arrays[name].shape
    node = next(node for node in network.nodes if name in node.inputs)
    if node.op == "MatMul":
        return int(shape[-2] if node.inputs[1] == name else shape[-1])
    if node.op == "Gemm":
        return int(shape[1] if node.integer("transB", 0) else shape[0])
    return int(shape[-1]) if node.op in RECURRENT else math.prod(shape[1:])
