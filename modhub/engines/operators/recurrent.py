"""LSTM, GRU and RNN, written as a loop over time.

torch's own recurrent layers know one set of activations and hide the steps; a loop follows every variant of ONNX and is
differentiable in everything. What does not depend on the state, the input's share of the gates, is computed for all
steps at once.

Shapes: T steps, B rows of a batch, H hidden units, D directions.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.nn import functional

from modhub.engines.operators.activations import hard_sigmoid
from modhub.engines.operators.operator import Operator, refuse, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node

Activation: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
State: TypeAlias = "tuple[torch.Tensor, ...]"
"""The hidden state ``[B, H]``, for an LSTM also the cell."""

WITHOUT_NUMBERS: dict[str, Activation] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}
WITH_ALPHA: dict[str, tuple[Callable[..., torch.Tensor], float]] = {
    "elu": (lambda value, *, alpha: functional.elu(value, alpha), 1.0),
    "leakyrelu": (lambda value, *, alpha: functional.leaky_relu(value, alpha), 0.01),
    "thresholdedrelu": (lambda value, *, alpha: functional.threshold(value, alpha, 0.0), 1.0),
}
WITH_ALPHA_AND_BETA: dict[str, tuple[Callable[..., torch.Tensor], float, float]] = {
    "affine": (lambda value, *, alpha, beta: alpha * value + beta, 1.0, 0.0),
    "hardsigmoid": (hard_sigmoid, 0.2, 0.5),
    "scaledtanh": (lambda value, *, alpha, beta: alpha * torch.tanh(beta * value), 1.0, 1.0),
}


def whole(hidden: torch.Tensor) -> torch.Tensor:
    """Return the hidden state as it is."""
    return hidden


@dataclass(frozen=True, kw_only=True)
class Direction:
    """Weights and activations of one direction of a recurrent layer.

    `recurrence` is ``[gates * H, H]``, `bias` and `recurrence_bias` ``[gates * H]``, `peepholes` ``[3, H]``. What the
    recurrence reads of the hidden state passes through `reads` first.
    """

    activations: tuple[Activation, ...]
    recurrence: torch.Tensor
    recurrence_bias: torch.Tensor
    peepholes: torch.Tensor
    resets_after: bool
    reads: Activation


Step: TypeAlias = "Callable[[Direction, torch.Tensor, State], State]"
"""Returns the next state from the input's share of the gates ``[B, gates * H]`` and the state."""


def lstm_step(direction: Direction, share: torch.Tensor, state: State) -> State:
    """Return the next hidden state and cell."""
    sigmoid, tanh, squash = direction.activations
    hidden, cell = state
    gates = share + functional.linear(direction.reads(hidden), direction.recurrence, direction.recurrence_bias)
    opening, output, forgetting, candidate = gates.chunk(4, dim=1)
    look_in, look_out, look_forget = direction.peepholes
    kept = sigmoid(forgetting + look_forget * cell) * cell
    cell = kept + sigmoid(opening + look_in * cell) * tanh(candidate)
    return sigmoid(output + look_out * cell) * squash(cell), cell


def gru_step(direction: Direction, share: torch.Tensor, state: State) -> State:
    """Return the next hidden state."""
    sigmoid, tanh = direction.activations
    (hidden,) = state
    size = hidden.shape[1]
    gate_share, candidate_share = torch.split(share, [2 * size, size], dim=1)
    gate_weight, weight = torch.split(direction.recurrence, [2 * size, size])
    gate_bias, bias = torch.split(direction.recurrence_bias, [2 * size, size])
    read = direction.reads(hidden)
    update, reset = sigmoid(gate_share + functional.linear(read, gate_weight, gate_bias)).chunk(2, dim=1)
    if direction.resets_after:
        candidate = tanh(candidate_share + reset * functional.linear(read, weight, bias))
    else:
        candidate = tanh(candidate_share + functional.linear(reset * read, weight, bias))
    return ((1 - update) * candidate + update * hidden,)


def rnn_step(direction: Direction, share: torch.Tensor, state: State) -> State:
    """Return the next hidden state."""
    (activation,) = direction.activations
    (hidden,) = state
    read = direction.reads(hidden)
    return (activation(share + functional.linear(read, direction.recurrence, direction.recurrence_bias)),)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of recurrent layer: its activations where none are named, and its step."""

    activations: tuple[str, ...]
    states: int
    step: Step


LSTM = Cell(activations=("sigmoid", "tanh", "tanh"), states=2, step=lstm_step)
GRU = Cell(activations=("sigmoid", "tanh"), states=1, step=gru_step)
RNN = Cell(activations=("tanh",), states=1, step=rnn_step)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A recurrent layer as its node describes it, still without weights."""

    cell: Cell
    reverses: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    resets_after: bool
    batch_first: bool

    @classmethod
    def of(cls, node: Node, cell: Cell) -> Layer:
        """Read a node's attributes.

        Raises:
            UnsupportedOperator: it clips its cells, couples its gates, or has an unknown activation.
        """
        for attribute in ("clip", "input_forget"):
            if node.number(attribute, 0):
                raise refuse(node, f"it sets {attribute!r}")
        direction = text(node, "direction", "forward")
        reverses = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
        return cls(
            cell=cell,
            reverses=reverses,
            activations=_activations(node, cell, len(reverses)),
            resets_after=bool(node.integer("linear_before_reset", 0)),
            batch_first=bool(node.integer("layout", 0)),
        )

    def compute(  # noqa: PLR0913 - the operator's inputs, in its order
        self,
        sequence: torch.Tensor,
        weights: torch.Tensor,
        recurrence: torch.Tensor,
        bias: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        hidden: torch.Tensor | None = None,
        cell: torch.Tensor | None = None,
        peepholes: torch.Tensor | None = None,
        *,
        reads: Activation = whole,
    ) -> tuple[torch.Tensor, ...]:
        """Return the hidden states of all steps ``[T, D, B, H]``, then each last state ``[D, B, H]``.

        With `layout` 1 the batch is the first axis of all of them. What each step reads of the hidden state before it,
        ``[B, H]``, passes through `reads`; what the layer returns does not.
        """
        if self.batch_first:
            sequence = sequence.transpose(0, 1)
            hidden, cell = (state if state is None else state.transpose(0, 1) for state in (hidden, cell))
        runs = []
        for number, reverse in enumerate(self.reverses):
            biases = weights.new_zeros(2 * weights.shape[1]) if bias is None else bias[number]
            input_bias, recurrence_bias = biases.chunk(2)
            direction = Direction(
                activations=self.activations[number],
                recurrence=recurrence[number],
                recurrence_bias=recurrence_bias,
                peepholes=_peepholes(peepholes, number, recurrence),
                resets_after=self.resets_after,
                reads=reads,
            )
            shares = functional.linear(sequence, weights[number], input_bias)  # [T, B, gates * H]
            start = self._start(shares, recurrence, (hidden, cell), number)
            runs.append(self._unroll(direction, shares, start, lengths, reverse=reverse))
        outputs = [torch.stack([states for states, _ in runs], dim=1)]
        outputs += [torch.stack(last) for last in zip(*(last for _, last in runs), strict=True)]
        if self.batch_first:
            return outputs[0].permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in outputs[1:])
        return tuple(outputs)

    def _start(
        self,
        shares: torch.Tensor,
        recurrence: torch.Tensor,
        given: tuple[torch.Tensor | None, ...],
        number: int,
    ) -> State:
        zeros = shares.new_zeros(shares.shape[1], recurrence.shape[2])
        return tuple(zeros if state is None else state[number] for state in given[: self.cell.states])

    def _unroll(
        self,
        direction: Direction,
        shares: torch.Tensor,
        state: State,
        lengths: torch.Tensor | None,
        *,
        reverse: bool,
    ) -> tuple[torch.Tensor, State]:
        """Return the hidden states ``[T, B, H]`` and the last state; steps beyond a row's length leave it unchanged."""
        hidden = {}
        for time in _times(shares.shape[0], reverse=reverse):
            following = self.cell.step(direction, shares[time], state)
            if lengths is None:
                state = following
                hidden[time] = state[0]
                continue
            runs = (time < lengths).unsqueeze(1)
            state = tuple(torch.where(runs, new, old) for new, old in zip(following, state, strict=True))
            hidden[time] = torch.where(runs, state[0], 0.0)
        return torch.stack([hidden[time] for time in sorted(hidden)]), state


def _times(steps: int, *, reverse: bool) -> Iterator[int]:
    return reversed(range(steps)) if reverse else iter(range(steps))


def _peepholes(peepholes: torch.Tensor | None, number: int, recurrence: torch.Tensor) -> torch.Tensor:
    size = recurrence.shape[2]
    return recurrence.new_zeros(3, size) if peepholes is None else peepholes[number].reshape(3, size)


def _activations(node: Node, cell: Cell, directions: int) -> tuple[tuple[Activation, ...], ...]:
    given = node.attribute("activations", cell.activations * directions)
    names = [name.lower() for name in given] if isinstance(given, tuple) else []  # type: ignore[union-attr]
    alphas, betas = _numbers(node, "activation_alpha"), _numbers(node, "activation_beta")
    chosen = [_activation(node, name, alphas, betas) for name in names]
    size = len(cell.activations)
    return tuple(tuple(chosen[start : start + size]) for start in range(0, len(chosen), size))


def _numbers(node: Node, name: str) -> Iterator[float]:
    given = node.attribute(name, ())
    return iter(given if isinstance(given, tuple) else (given,))  # type: ignore[arg-type]


def _activation(node: Node, name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    """Return an activation; the numbers it needs are taken from the node's lists in order, as long as these last."""
    if name in WITHOUT_NUMBERS:
        return WITHOUT_NUMBERS[name]
    if name in WITH_ALPHA:
        function, alpha = WITH_ALPHA[name]
        return functools.partial(function, alpha=next(alphas, alpha))
    if name in WITH_ALPHA_AND_BETA:
        function, alpha, beta = WITH_ALPHA_AND_BETA[name]
        return functools.partial(function, alpha=next(alphas, alpha), beta=next(betas, beta))
    raise refuse(node, f"its activation {name!r} is unknown")


def _recurrent(cell: Cell) -> Operator:
    def bind(node: Node) -> Function:
        return Layer.of(node, cell).compute

    return Operator(bind)


OPERATORS: dict[str, Operator] = {"GRU": _recurrent(GRU), "LSTM": _recurrent(LSTM), "RNN": _recurrent(RNN)}
