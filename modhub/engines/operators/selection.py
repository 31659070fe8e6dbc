"""What joins tensors, or takes, drops and adds elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from modhub.engines.operators.operator import Operator, plain, refuse, text, to_ints

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node


def _concat(node: Node) -> Function:
    axis = node.integer("axis", 0)
    return lambda *values: torch.cat(values, dim=axis)


def _split(node: Node) -> Function:
    axis = node.integer("axis", 0)
    parts = node.integer("num_outputs", len(node.outputs))

    def compute(value: torch.Tensor, sizes: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        if sizes is not None:
            return torch.split(value, to_ints(sizes), dim=axis)
        return torch.split(value, -(-value.shape[axis] // parts), dim=axis)

    return compute


def slice_(
    value: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    axes: torch.Tensor | None = None,
    steps: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return a range of positions along some axes; bounds beyond an axis are held within it."""
    first, last = to_ints(starts), to_ints(ends)
    along = list(range(len(first))) if axes is None else to_ints(axes)
    strides = [1] * len(first) if steps is None else to_ints(steps)
    for start, end, axis, step in zip(first, last, along, strides, strict=True):
        positions = range(*slice(start, end, step).indices(value.shape[axis]))
        value = _take(value, axis, positions)
    return value


def _take(value: torch.Tensor, axis: int, positions: range) -> torch.Tensor:
    if not positions:
        return value.narrow(axis, 0, 0)
    if positions.step == 1:
        return value.narrow(axis, positions.start, len(positions))
    return value.index_select(axis, torch.tensor(positions, device=value.device))


def _pad(node: Node) -> Function:
    mode = text(node, "mode", "constant")
    if mode != "constant" and mode not in BORDERS:
        raise refuse(node, f"its mode is {mode!r}, torch can follow constant, {', '.join(BORDERS)}")

    def compute(
        value: torch.Tensor,
        pads: torch.Tensor,
        fill: torch.Tensor | None = None,
        axes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        cells = to_ints(pads)
        along = list(range(value.ndim)) if axes is None else [axis % value.ndim for axis in to_ints(axes)]
        around = dict(zip(along, zip(cells[: len(along)], cells[len(along) :], strict=True), strict=True))
        if mode == "constant":
            flat = [count for axis in reversed(range(value.ndim)) for count in around.get(axis, (0, 0))]
            return functional.pad(value, flat, value=0 if fill is None else fill.item())
        for axis, (before, after) in around.items():
            value = _bordered(value, axis, before, after, mode)
        return value

    return compute


def _bordered(value: torch.Tensor, axis: int, before: int, after: int, mode: str) -> torch.Tensor:
    if not before and not after:
        return value
    length = value.shape[axis]
    # Cells are removed before others are repeated, as for constants.
    start, end = max(0, -before), length - max(0, -after)
    positions = torch.arange(start - max(0, before), end + max(0, after), device=value.device)
    return value.index_select(axis, BORDERS[mode](positions - start, end - start) + start)


def _reflected(positions: torch.Tensor, length: int) -> torch.Tensor:
    if length == 1:
        return torch.zeros_like(positions)
    folded = positions.remainder(2 * (length - 1))
    return torch.minimum(folded, 2 * (length - 1) - folded)


BORDERS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "edge": lambda positions, length: positions.clamp(0, length - 1),
    "reflect": _reflected,
    "wrap": lambda positions, length: positions.remainder(length),
}


def _gather(node: Node) -> Function:
    axis = node.integer("axis", 0)

    def compute(value: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        along = axis % value.ndim
        flat = _from_start(indices, value.shape[along]).reshape(-1)
        taken = value.index_select(along, flat)
        return taken.reshape(value.shape[:along] + indices.shape + value.shape[along + 1 :])

    return compute


def _gather_elements(node: Node) -> Function:
    axis = node.integer("axis", 0)
    return lambda value, indices: value.gather(axis, _from_start(indices, value.shape[axis]))


def _from_start(indices: torch.Tensor, length: int) -> torch.Tensor:
    """Return whole numbers with negative ones counted from the end."""
    return torch.where(indices < 0, indices + length, indices).to(torch.int64)


def _triangle(node: Node) -> Function:
    keep = torch.triu if node.integer("upper", 1) else torch.tril
    return lambda value, diagonal=None: keep(value, 0 if diagonal is None else to_ints(diagonal)[0])


def _dropout(node: Node) -> Function:
    if len(node.outputs) > 1:
        raise refuse(node, "it also returns the mask of what it drops")

    def compute(value: torch.Tensor, _: torch.Tensor | None = None, trains: torch.Tensor | None = None) -> torch.Tensor:
        if trains is not None and bool(trains):
            raise refuse(node, "it is in training mode")
        return value

    return compute


OPERATORS: dict[str, Operator] = {
    "Concat": Operator(_concat),
    "Dropout": Operator(_dropout, sizes=(2,)),
    "Gather": Operator(_gather),
    "GatherElements": Operator(_gather_elements),
    "Pad": Operator(_pad, sizes=(1, 2, 3)),
    "Slice": plain(slice_, sizes=(1, 2, 3, 4)),
    "Split": Operator(_split, sizes=(1,)),
    "Trilu": Operator(_triangle, sizes=(1,)),
}
