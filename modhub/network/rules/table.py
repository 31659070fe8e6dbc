"""Every operator with a rule, and what happens to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.network.rules import elementwise, layers, layout, mixing, recurrent
from modhub.network.rules.walk import Walk

if TYPE_CHECKING:
    from modhub.network.network import Network, Shape
    from modhub.network.rules.walk import Rule

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **layers.RULES,
    **layout.RULES,
    **mixing.RULES,
    **recurrent.RULES,
}
FINISH: dict[str, Rule] = layout.FINISH


def followed(network: Network, shapes: dict[str, Shape]) -> Walk:
    """Return what is known after following units through a whole network.

    An operator without a rule pins every unit that reaches it: it is never cut, and the report says so.
    """
    walk = Walk(network=network, shapes=shapes)
    for index, node in enumerate(network.nodes):
        depth = 1 + max((walk.depth.get(name, 0) for name in node.inputs), default=0)
        walk.depth.update(dict.fromkeys(node.outputs, depth))
        RULES.get(node.op, layers.pin_all)(walk, index, node)
    walk.settle_all()
    for index, node in enumerate(network.nodes):
        if node.op in FINISH:
            FINISH[node.op](walk, index, node)
    return walk
