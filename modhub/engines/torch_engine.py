"""A network as a `torch.nn.Module` that can be trained, cut short, and gated anywhere.

    net = to_torch(network)
    net(x)                                                          # logits
    features = net.run({network.input.name: x}, stop="add7")        # up to a value
    net.run({"add7": features}, on_input={(12, 0): mask.__mul__})   # from a value, with a mask

No code is generated: the nodes are run one after the other. Inside torch they are called ``n0``, ``n1``, ... and arrays
``a0``, ``a1``, ..., because the names in a file are a stranger's; those are only keys of tables here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import torch

from modhub.engines.foreign import first_line
from modhub.engines.operators.table import operator_of, supported_operators
from modhub.engines.schedule import schedule
from modhub.errors import InvalidNetwork, ModhubError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from modhub.engines.schedule import Step
    from modhub.network.network import Array, Network, Node

__all__ = ["Gate", "Operation", "TorchNetwork", "supported_operators", "to_torch"]

Gate: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Takes a value on its way into or out of a node and returns what is used in its place."""

NO_INPUT_GATES: Mapping[tuple[int, int], Gate] = MappingProxyType({})
NO_GATES: Mapping[int, Gate] = MappingProxyType({})


def to_torch(network: Network, *, trainable: bool = False) -> TorchNetwork:
    """Return the network as a `torch.nn.Module`, its arrays frozen unless `trainable`.

    Raises:
        UnsupportedOperator: torch cannot compute one of its nodes; names the node and the supported operators.
        InvalidNetwork: an array has a type that torch lacks, or a node has attributes that mean nothing.
    """
    return TorchNetwork(network, trainable=trainable)


class Operation(torch.nn.Module):
    """One node: computes its outputs from its operands.

    Raises:
        UnsupportedOperator: torch cannot compute the node.
        InvalidNetwork: its attributes mean nothing.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node
        try:
            self.function = operator_of(node).bind(node)
        except ModhubError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidNetwork(f"{node.label} has attributes that mean nothing: {first_line(error)}") from error

    def forward(self, *operands: torch.Tensor | None, reads: Gate | None = None) -> tuple[torch.Tensor, ...]:
        """Return all outputs; what a recurrent layer reads of its hidden state passes through `reads`.

        Raises:
            InvalidNetwork: the operands do not fit the operator.
        """
        try:
            result = self.function(*operands) if reads is None else self.function(*operands, reads=reads)
        except (ModhubError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            shapes = ", ".join("none" if operand is None else str(list(operand.shape)) for operand in operands)
            problem = f"{self.node.label} cannot take operands of shapes {shapes}: {first_line(error)}"
            raise InvalidNetwork(problem) from error
        return result if isinstance(result, tuple) else (result,)

    def extra_repr(self) -> str:
        """Describe the operation for `repr`."""
        return self.node.op


class TorchNetwork(torch.nn.Module):
    """A network in torch. Node `i` of the network is the submodule ``n{i}``; use `to_torch` to make one."""

    def __init__(self, network: Network, *, trainable: bool = False) -> None:
        super().__init__()
        self.input, self.output = network.input.name, network.output
        self.nodes = network.nodes
        for i, node in enumerate(network.nodes):
            self.add_module(f"n{i}", Operation(node))
        self._attributes: dict[str, str] = {}
        for i, (name, array) in enumerate(network.arrays.items()):
            self._attributes[name] = f"a{i}"
            self._store(f"a{i}", _tensor(name, array), trainable=trainable)
        self._sizes = self._size_operands(network)
        self._values = {self.input, *(name for node in network.nodes for name in (*node.inputs, *node.outputs))}
        self._schedules: dict[tuple[frozenset[str], tuple[str, ...]], tuple[Step, ...]] = {}

    def _store(self, attribute: str, tensor: torch.Tensor, *, trainable: bool) -> None:
        if tensor.is_floating_point():
            self.register_parameter(attribute, torch.nn.Parameter(tensor, requires_grad=trainable))
        else:
            self.register_buffer(attribute, tensor)

    def _size_operands(self, network: Network) -> dict[tuple[int, int], torch.Tensor]:
        """Return copies of the arrays that are read as sizes; these are not registered, so they stay with the host."""
        return {
            (i, j): _tensor(name, network.arrays[name])
            for i, node in enumerate(network.nodes)
            for j, name in enumerate(node.inputs)
            if name in network.arrays and j in operator_of(node).sizes
        }

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the network's output for a batch of its input."""
        return self.run({self.input: value})

    def run(
        self,
        values: Mapping[str, torch.Tensor],
        *,
        stop: str | None = None,
        on_input: Mapping[tuple[int, int], Gate] = NO_INPUT_GATES,
        on_output: Mapping[int, Gate] = NO_GATES,
        on_state: Mapping[int, Gate] = NO_GATES,
    ) -> torch.Tensor:
        """Return one value, by default the output, computed from others by as few nodes as possible.

        Args:
            values: where to start: the input, or any values that what is asked for can be computed from.
            stop: the value to return.
            on_input: by node index and input index, what the node reads there passes through this. An array may be
                gated like any value.
            on_output: by node index, the node's first output passes through this.
            on_state: by the node index of a recurrent layer, what each step reads of the hidden state before it,
                ``[batch, units]``, passes through this.

        Raises:
            UsageError: a name is no value of the network, or a value is missing to compute another.
            InvalidNetwork: a value's shape does not fit.
        """
        wanted = self.output if stop is None else stop
        found = self.evaluate(values, wanted=(wanted,), on_input=on_input, on_output=on_output, on_state=on_state)
        return found[wanted]

    def evaluate(
        self,
        values: Mapping[str, torch.Tensor],
        *,
        wanted: Iterable[str],
        on_input: Mapping[tuple[int, int], Gate] = NO_INPUT_GATES,
        on_output: Mapping[int, Gate] = NO_GATES,
        on_state: Mapping[int, Gate] = NO_GATES,
    ) -> dict[str, torch.Tensor]:
        """Return several values at once; as `run` otherwise.

        Raises:
            UsageError: a name is no value of the network, or a value is missing to compute another.
            InvalidNetwork: a value's shape does not fit.
        """
        names = tuple(dict.fromkeys(wanted))
        known = dict(values)
        for step in self._schedule(values, names):
            node, operation = self.nodes[step.index], getattr(self, f"n{step.index}")
            operands = [self._operand((step.index, j), known, on_input) for j in range(len(node.inputs))]
            results = operation(*operands, reads=on_state.get(step.index))
            if step.index in on_output:
                results = (on_output[step.index](results[0]), *results[1:])
            known.update((name, r) for name, r in zip(node.outputs, results, strict=False) if name not in values)
            for name in step.spent:
                del known[name]
        return {name: known[name] if name in known else self.array(name) for name in names}

    def array(self, name: str) -> torch.Tensor:
        """Return an array by its name in the network: a parameter, or a buffer where it is not floating point.

        Raises:
            UsageError: the network has no such array.
        """
        if name not in self._attributes:
            raise UsageError(f"the network has no value or array {name!r}")
        tensor: torch.Tensor = getattr(self, self._attributes[name])
        return tensor

    def arrays(self) -> dict[str, Array]:
        """Return copies of all arrays as they are now, by their names in the network."""
        return {name: self.array(name).detach().cpu().numpy().copy() for name in self._attributes}

    def _operand(
        self,
        place: tuple[int, int],
        known: Mapping[str, torch.Tensor],
        gates: Mapping[tuple[int, int], Gate],
    ) -> torch.Tensor | None:
        index, position = place
        name = self.nodes[index].inputs[position]
        if not name:
            return None
        value = known[name] if name in known else self._constant(place, name)
        return gates[place](value) if place in gates else value

    def _constant(self, place: tuple[int, int], name: str) -> torch.Tensor:
        return self._sizes[place] if place in self._sizes else self.array(name)

    def _schedule(self, given: Collection[str], wanted: tuple[str, ...]) -> tuple[Step, ...]:
        key = (frozenset(given), wanted)
        if key not in self._schedules:
            for name in (*given, *wanted):
                if name not in self._values and name not in self._attributes:
                    raise UsageError(f"the network has no value {name!r}")
            self._schedules[key] = schedule(self.nodes, arrays=self._attributes, given=given, wanted=wanted)
        return self._schedules[key]


def _tensor(name: str, array: Array) -> torch.Tensor:
    try:
        return torch.tensor(array)
    except TypeError as error:
        raise InvalidNetwork(f"array {name!r} holds {array.dtype}, which torch cannot represent") from error
