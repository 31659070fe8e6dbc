"""Which nodes of a graph must run to compute some of its values from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from modhub.network.network import Node


@dataclass(frozen=True)
class Step:
    """The node to run, and the values that nothing reads after it."""

    index: int
    spent: tuple[str, ...]


def schedule(
    nodes: Sequence[Node], *, arrays: Collection[str], given: Collection[str], wanted: Collection[str]
) -> tuple[Step, ...]:
    """Return the fewest nodes that compute the `wanted` values from the `given` ones, in order.

    Raises:
        UsageError: a wanted value depends on one that is neither given nor computed.
    """
    free = {"", *arrays, *given}
    chosen = []
    needed = set(wanted) - free
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        if needed.intersection(node.outputs):
            needed.difference_update(node.outputs)
            needed.update(set(node.inputs) - free)
            chosen.append(index)
    if needed:
        raise UsageError(f"{_listed(wanted)} cannot be computed from {_listed(given)}: {_listed(needed)} is missing")
    return _with_spent(nodes, chosen, keep={"", *arrays, *wanted})


def _with_spent(nodes: Sequence[Node], chosen: Sequence[int], *, keep: set[str]) -> tuple[Step, ...]:
    steps = []
    for index in chosen:
        last_used = {*nodes[index].inputs, *nodes[index].outputs} - keep
        keep |= last_used
        steps.append(Step(index, tuple(sorted(last_used))))
    return tuple(reversed(steps))


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "nothing"
