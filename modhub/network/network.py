"""`Network`: an ONNX graph and its arrays as one immutable value.

A network is in *normal form* when `modhub.network.load` made it: opset 20, one input,
one output, every array named and finite, batch-norm folded, constants folded. Everything
after loading (masks, slices, composites) is again a `Network`, so it can be packed,
run, or decomposed once more.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from modhub.spec.ports import InputPort

    Array: TypeAlias = npt.NDArray[Any]

Attribute: TypeAlias = "int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]"
Shape: TypeAlias = "tuple[int | str, ...]"

OPSET = 20
IR_VERSION = 10
BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator of the default ONNX domain.

    `inputs` and `outputs` are value names; an omitted optional input is the empty
    string. Tensor attributes and subgraphs do not occur in normal form.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    name: str = ""

    def attribute(self, name: str, default: Attribute) -> Attribute:
        """Return the attribute, or `default` where the node does not set it."""
        return self.attributes.get(name, default)

    def ints(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        value = self.attributes.get(name, tuple(default))
        return tuple(value) if isinstance(value, tuple) else (value,)  # type: ignore[arg-type, return-value]

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is one integer."""
        return int(self.attributes.get(name, default))  # type: ignore[arg-type]

    def number(self, name: str, default: float) -> float:
        """Return an attribute that is one float."""
        return float(self.attributes.get(name, default))  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """How errors and reports call this node."""
        return f"{self.op} node {(self.name or self.outputs[0])!r}"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A feed-forward graph in topological order, with its arrays and contract.

    `arrays` maps initializer names to numpy arrays. `input` is the contract of the one
    graph input; `output` names the one graph output, `output_shape` is its declared
    shape with the batch dimension symbolic. `metadata` is free text that travels in the
    ONNX file (provenance of composites); it takes no part in equality of graphs.
    """

    nodes: tuple[Node, ...]
    arrays: Mapping[str, Array]
    input: InputPort
    output: str
    output_shape: Shape
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", MappingProxyType(dict(self.arrays)))

    def replace(self, **changes: object) -> Network:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def producers(self) -> dict[str, int]:
        """Map each computed value to the index of the node that makes it."""
        return {name: i for i, node in enumerate(self.nodes) for name in node.outputs if name}

    def consumers(self) -> dict[str, list[tuple[int, int]]]:
        """Map each value or array to the `(node index, input index)` pairs that read it."""
        uses: dict[str, list[tuple[int, int]]] = {}
        for i, node in enumerate(self.nodes):
            for j, name in enumerate(node.inputs):
                if name:
                    uses.setdefault(name, []).append((i, j))
        return uses

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Yield the floating-point arrays, the ones that count as parameters."""
        for name, array in self.arrays.items():
            if array.dtype.kind == "f":
                yield name, array

    @property
    def parameters(self) -> int:
        """Number of floating-point array elements."""
        return sum(array.size for _, array in self.weights())
