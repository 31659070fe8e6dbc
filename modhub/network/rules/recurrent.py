"""Recurrent layers: a hidden unit is a row of every gate, and a column of the recurrent weights.

Shapes, with `D` directions, `G` gates and `H` hidden units: input weights ``[D, G*H, in]``, recurrent weights
``[D, G*H, H]``, biases ``[D, 2*G*H]``, peepholes ``[D, 3*H]``, initial states ``[D, batch, H]``; outputs
``[time, D, batch, H]`` and ``[D, batch, H]``. Both directions keep the same units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.network.rules.layers import pin_all
from modhub.network.units import AttributeUse

if TYPE_CHECKING:
    from modhub.network.network import Node
    from modhub.network.rules.walk import Axes, Rule, Walk
    from modhub.network.units import Units

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PEEPHOLES = 3
RECURRENCE = 2
"""Position of the recurrent weights among the inputs: what reads the hidden units in the next step."""
STATES = (5, 6)


def recurrent(walk: Walk, index: int, node: Node) -> None:
    """Reads the features of each step, opens its hidden units, and reads those again in the next step."""
    inputs = [*node.inputs, *[""] * (8 - len(node.inputs))]
    if not all(walk.is_array(name) for name in (*inputs[1:4], inputs[7]) if name):
        pin_all(walk, index, node)
        return
    value, weights, recurrence = inputs[:3]
    units = walk.only(value, walk.rank(value) - 1, f"{node.label} steps along it")
    if units is not None:
        walk.read(index, 0, walk.rank(value) - 1, units)
        walk.use(index, weights, 2, units, role="column")
    hidden = walk.table.open(walk.network.arrays[recurrence].shape[2], node=index, name=weights)
    gates = GATES[node.op]
    walk.use(index, weights, 1, np.tile(hidden, gates), role="row")
    walk.use(index, recurrence, 1, np.tile(hidden, gates), role="row")
    walk.use(index, recurrence, 2, hidden, role="column")
    walk.read(index, RECURRENCE, 2, hidden)
    for operand, repeats in ((3, 2 * gates), (7, PEEPHOLES)):
        if inputs[operand]:
            walk.use(index, inputs[operand], 1, np.tile(hidden, repeats), role="row")
    _start(walk, index, inputs, hidden, label=node.label)
    walk.table.attributes.append(AttributeUse(node=index, attribute="hidden_size", units=hidden))
    for name in node.outputs:
        if name:
            axes: Axes = [None] * (walk.rank(name) - 1)
            walk.put(name, [*axes, hidden])


def _start(walk: Walk, index: int, inputs: list[str], hidden: Units, *, label: str) -> None:
    """The initial states have the units of the states that follow."""
    for operand in STATES:
        state = inputs[operand]
        if not state:
            continue
        if walk.is_array(state):
            walk.use(index, state, 2, hidden, role="element")
            continue
        units = walk.only(state, 2, f"{label} starts from it")
        if units is None:
            walk.table.pin(hidden.tolist(), f"{label} starts from a state that cannot be cut")
        else:
            walk.table.unite(hidden, units)


RULES: dict[str, Rule] = dict.fromkeys(GATES, recurrent)
