"""Several networks on one input, as one network.

Equal arrays are stored once and equal computations appear once (hash-consing, i.e. common-subexpression elimination
while merging). Modules of one parent share their trunk this way without being told: the trunk runs once and every score
stays bit-identical to the module run alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import ComposeError
from modhub.network.network import BATCH, Network, Node
from modhub.network.passes.names import fresh_name
from modhub.spec import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Array

SCORES = "scores"
LONGEST_WISH = limits.ARRAY_NAME_LENGTH - 10
"""Composites of composites prefix names again and again; this leaves room for the number that makes a name unique."""


@dataclass
class Merge:
    """The joined graph so far. `values` finds a computation by what it computes, `stored` an array by its content."""

    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    values: dict[tuple[object, ...], tuple[str, ...]] = field(default_factory=dict)
    stored: dict[tuple[object, ...], str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    shared_nodes: int = 0

    def add(self, part: Network, *, prefix: str, input_name: str) -> str:
        """Add a network; returns the name of its output in the joined graph."""
        names = {part.input.name: input_name, "": ""}
        for name, array in part.arrays.items():
            names[name] = self._array(name, array, prefix)
        for node in part.nodes:
            self._node(node, names, prefix)
        return names[part.output]

    def _array(self, name: str, array: Array, prefix: str) -> str:
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self.stored:
            self.stored[key] = self._fresh(name, prefix)
            self.arrays[self.stored[key]] = array
        return self.stored[key]

    def _node(self, node: Node, names: dict[str, str], prefix: str) -> None:
        inputs = tuple(names[name] for name in node.inputs)
        present = tuple(bool(name) for name in node.outputs)
        key = (node.op, inputs, tuple(sorted(node.attributes.items())), present)
        if key in self.values:
            self.shared_nodes += 1
        else:
            outputs = tuple(self._fresh(name, prefix) if name else "" for name in node.outputs)
            self.values[key] = outputs
            self.nodes.append(dataclasses.replace(node, inputs=inputs, outputs=outputs, name=outputs[0]))
        names.update(zip(node.outputs, self.values[key], strict=True))

    def _fresh(self, name: str, prefix: str) -> str:
        wish = name if name not in self.taken else f"{prefix}/{name}"
        return fresh_name(wish[:LONGEST_WISH], self.taken)


def join(parts: Sequence[tuple[str, Network]]) -> Network:
    """Return one network whose output `scores`, float32 ``[batch, k]``, holds each part's output columns in order.

    Args:
        parts: `(prefix, network)`; a prefix goes in front of names that are taken.

    Raises:
        ComposeError: no parts, or their input contracts differ.
    """
    if not parts:
        raise ComposeError("there is nothing to compose: no modules were given")
    first_prefix, first = parts[0]
    for prefix, part in parts[1:]:
        if part.input.key() != first.input.key():
            raise ComposeError(f"{first_prefix} takes {first.input}, {prefix} takes {part.input}: they share no input")
    merge = Merge(taken={first.input.name, SCORES})
    columns = [merge.add(part, prefix=prefix, input_name=first.input.name) for prefix, part in parts]
    merge.nodes.append(Node(op="Concat", inputs=tuple(columns), outputs=(SCORES,), attributes={"axis": 1}, name=SCORES))
    return Network(
        nodes=tuple(merge.nodes),
        arrays=merge.arrays,
        input=first.input,
        output=SCORES,
        output_shape=(BATCH, sum(int(part.output_shape[-1]) for _, part in parts)),
    )
