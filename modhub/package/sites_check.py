"""Do `sites.json` and the base's graph belong together? Whoever cuts by these sites relies on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from modhub.errors import FormatError, InvalidPackage
from modhub.spec.document import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modhub.network.network import Array, Network, Node, Shape
    from modhub.network.sites import AttributeSize, Branch, Positions, Reader, Sites, TargetSize


def check_sites(sites: Sites, network: Network, *, shapes: Mapping[str, Shape]) -> None:
    """Check that every position that the sites describe is there.

    Args:
        sites: what a base's `sites.json` says.
        network: the base.
        shapes: the shapes of its values, from `infer_shapes`.

    Raises:
        InvalidPackage: with every problem; `where` is the path in `sites.json`.
    """
    problems = list(_Check(sites=sites, network=network, shapes=shapes).problems())
    if problems:
        raise InvalidPackage(problems)


@dataclass(frozen=True, kw_only=True)
class _Check:
    sites: Sites
    network: Network
    shapes: Mapping[str, Shape]

    def problems(self) -> Iterator[FormatError]:
        nodes = {name: node for node in self.network.nodes for name in node.outputs[:1]}
        yield from self._layer_problems()
        yield from self._array_problems(nodes)
        for where, name, problem_of in self._uses():
            problem = problem_of(nodes[name]) if name in nodes else f"there is no node {shown(name)}"
            if problem:
                yield FormatError(problem, where=where)
        columns = self.network.output_shape[-1]
        if self.sites.output is not None and len(self.sites.output) != columns:
            yield FormatError(f"numbers {len(self.sites.output)} logits of {columns}", where="output")

    def _uses(self) -> Iterator[tuple[str, str, Callable[[Node], str]]]:
        for i, target in enumerate(self.sites.targets):
            yield f"targets[{i}]", target.node, partial(self._target_problem, target)
        for i, positions in enumerate(self.sites.positions):
            yield f"positions[{i}]", positions.node, partial(self._positions_problem, positions)
        for i, attribute in enumerate(self.sites.attributes):
            yield f"attributes[{i}]", attribute.node, partial(self._attribute_problem, attribute)
        for i, reader in enumerate(self.sites.readers):
            yield f"readers[{i}]", reader.node, partial(self._reader_problem, reader)
        for i, branch in enumerate(self.sites.branches):
            yield f"branches[{i}]", branch.node, partial(self._branch_problem, branch)

    def _layer_problems(self) -> Iterator[FormatError]:
        for position, site in enumerate(self.sites.sites):
            for layer in site.layers:
                if layer not in self.network.arrays:
                    yield FormatError(f"there is no array {shown(layer)}", where=f"sites[{position}].layers")

    def _array_problems(self, nodes: Mapping[str, Node]) -> Iterator[FormatError]:
        for position, use in enumerate(self.sites.arrays):
            where = f"arrays[{position}]"
            array, node = self.network.arrays.get(use.array), nodes.get(use.node)
            if array is None or node is None or use.array not in node.inputs:
                yield FormatError(f"no node {shown(use.node)} reads an array {shown(use.array)}", where=where)
            elif use.axis >= array.ndim or array.shape[use.axis] != len(use.channels):
                problem = f"gives {len(use.channels)} channels for axis {use.axis} of {shown(use.array)}"
                yield FormatError(f"{problem}, which has the shape {list(array.shape)}", where=where)

    def _target_problem(self, use: TargetSize, node: Node) -> str:
        sizes = self._integers(node, use.operand)
        if sizes is None or use.index >= len(sizes):
            return f"{shown(use.node)} has no input {use.operand} with a size {use.index}"
        return ""

    def _positions_problem(self, use: Positions, node: Node) -> str:
        positions, size = self._integers(node, use.operand), len(use.channels)
        if positions is None or not all(-size <= position < size for position in positions.tolist()):
            return f"{shown(use.node)} has no input {use.operand} with positions among {size} channels"
        return ""

    def _integers(self, node: Node, operand: int) -> Array | None:
        array = self.network.arrays.get(node.inputs[operand]) if operand < len(node.inputs) else None
        return array if array is not None and array.ndim == 1 and array.dtype.kind == "i" else None

    def _attribute_problem(self, use: AttributeSize, node: Node) -> str:
        value = node.attributes.get(use.attribute)
        return "" if isinstance(value, int) else f"{shown(use.node)} has no number {shown(use.attribute)}"

    def _reader_problem(self, use: Reader, node: Node) -> str:
        shape = self._operand(node, use.operand)
        if shape is None or use.axis >= len(shape) or shape[use.axis] != len(use.channels):
            return f"gives {len(use.channels)} channels for axis {use.axis} of input {use.operand}, which does not fit"
        return ""

    def _branch_problem(self, use: Branch, node: Node) -> str:
        shape = self._operand(node, use.operand)
        # Channels are put to their places by a 1x1 convolution over axis 1, or by a product with the last axis.
        is_placed = shape is not None and len(shape) > 1 and use.rank == len(shape) and use.axis in (1, use.rank - 1)
        if shape is None or not is_placed or shape[use.axis] != len(use.channels):
            return f"gives {len(use.channels)} channels for axis {use.axis} of input {use.operand}, which does not fit"
        if use.stream is not None and len(use.stream) != len(use.channels):
            return f"puts {len(use.channels)} channels onto a stream of {len(use.stream)}"
        return ""

    def _operand(self, node: Node, operand: int) -> Shape | None:
        return self.shapes.get(node.inputs[operand]) if operand < len(node.inputs) else None
