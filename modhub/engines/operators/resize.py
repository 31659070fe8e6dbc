"""Resizing by interpolation, as a product with one matrix per axis.

A matrix says how much each position of the input counts for each position of the output. That is exact for every rule
of ONNX about coordinates and rounding, and has a gradient.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from modhub.engines.operators.operator import Operator, refuse, text, to_ints

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.engines.operators.operator import Function
    from modhub.network.network import Node


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis to resize: its lengths before and after, and the scale as the node gives it."""

    before: int
    after: int
    scale: float


def _half_pixel(positions: torch.Tensor, axis: Axis) -> torch.Tensor:
    return (positions + 0.5) / axis.scale - 0.5


def _half_pixel_symmetric(positions: torch.Tensor, axis: Axis) -> torch.Tensor:
    # The output is as long as it is because a length is a whole number; what was cut is shared by both ends.
    adjustment = axis.after / (axis.scale * axis.before)
    return axis.before / 2 * (1 - adjustment) + _half_pixel(positions, axis)


def _pytorch_half_pixel(positions: torch.Tensor, axis: Axis) -> torch.Tensor:
    return _half_pixel(positions, axis) if axis.after > 1 else torch.zeros_like(positions)


def _align_corners(positions: torch.Tensor, axis: Axis) -> torch.Tensor:
    return positions * (axis.before - 1) / max(1, axis.after - 1)


def _asymmetric(positions: torch.Tensor, axis: Axis) -> torch.Tensor:
    return positions / axis.scale


COORDINATES: dict[str, Callable[[torch.Tensor, Axis], torch.Tensor]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
}
ROUNDING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "ceil": torch.ceil,
    "floor": torch.floor,
    "round_prefer_ceil": lambda positions: torch.floor(positions + 0.5),
    "round_prefer_floor": lambda positions: torch.ceil(positions - 0.5),
}
TAPS = {"linear": (0, 1), "cubic": (-1, 0, 1, 2)}


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """How a node interpolates along each axis."""

    mode: str
    coordinates: str
    rounding: str
    cubic: float
    excludes_outside: bool

    @classmethod
    def of(cls, node: Node) -> Interpolation:
        """Read a node's attributes.

        Raises:
            UnsupportedOperator: it interpolates in another way.
        """
        allowed = {
            "mode": ("nearest", {"nearest", *TAPS}),
            "coordinate_transformation_mode": ("half_pixel", set(COORDINATES)),
            "nearest_mode": ("round_prefer_floor", set(ROUNDING)),
            "keep_aspect_ratio_policy": ("stretch", {"stretch"}),
        }
        for name, (default, values) in allowed.items():
            if text(node, name, default) not in values:
                found = text(node, name, default)
                raise refuse(node, f"its {name} is {found!r}, torch can follow {', '.join(sorted(values))}")
        if node.integer("antialias", 0):
            raise refuse(node, "it smooths before it shrinks (antialias)")
        return cls(
            mode=text(node, "mode", "nearest"),
            coordinates=text(node, "coordinate_transformation_mode", "half_pixel"),
            rounding=text(node, "nearest_mode", "round_prefer_floor"),
            cubic=node.number("cubic_coeff_a", -0.75),
            excludes_outside=bool(node.integer("exclude_outside", 0)),
        )

    def matrix(self, axis: Axis) -> torch.Tensor:
        """Return the weights ``[after, before]`` in double precision."""
        positions = COORDINATES[self.coordinates](torch.arange(axis.after, dtype=torch.float64), axis)
        if self.mode == "nearest":
            return self._place([(ROUNDING[self.rounding](positions), torch.ones_like(positions))], axis.before)
        base = positions.floor()
        weigh = _linear if self.mode == "linear" else functools.partial(_cubic, coefficient=self.cubic)
        taps = [(base + tap, weigh((positions - base - tap).abs())) for tap in TAPS[self.mode]]
        return self._place(taps, axis.before)

    def _place(self, taps: list[tuple[torch.Tensor, torch.Tensor]], length: int) -> torch.Tensor:
        matrix = torch.zeros(len(taps[0][0]), length, dtype=torch.float64)
        for positions, weights in taps:
            is_outside = (positions < 0) | (positions >= length)
            counted = weights.masked_fill(is_outside, 0.0) if self.excludes_outside else weights
            index = positions.clamp(0, length - 1).long().unsqueeze(1)
            matrix.scatter_add_(1, index, counted.unsqueeze(1))
        return matrix / matrix.sum(1, keepdim=True) if self.excludes_outside else matrix


def _linear(distances: torch.Tensor) -> torch.Tensor:
    return 1 - distances


def _cubic(distances: torch.Tensor, *, coefficient: float) -> torch.Tensor:
    a, d = coefficient, distances
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, far)


def _resize(node: Node) -> Function:
    interpolation = Interpolation.of(node)
    named = node.ints("axes", ())

    def compute(
        value: torch.Tensor,
        _: torch.Tensor | None = None,
        scales: torch.Tensor | None = None,
        sizes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        places = [axis % value.ndim for axis in named] or list(range(value.ndim))
        for place, axis in zip(places, _axes(value, places, scales, sizes), strict=True):
            if axis.before != axis.after or axis.scale != 1:
                matrix = interpolation.matrix(axis).to(value)
                value = torch.movedim(torch.movedim(value, place, -1) @ matrix.T, -1, place)
        return value

    return compute


def _axes(
    value: torch.Tensor, places: list[int], scales: torch.Tensor | None, sizes: torch.Tensor | None
) -> list[Axis]:
    lengths = [value.shape[place] for place in places]
    if sizes is not None and sizes.numel():
        return [Axis(before=b, after=a, scale=a / b) for b, a in zip(lengths, to_ints(sizes), strict=True)]
    factors = [] if scales is None else [float(factor) for factor in scales.tolist()]
    return [Axis(before=b, after=int(b * f), scale=f) for b, f in zip(lengths, factors, strict=True)]


OPERATORS: dict[str, Operator] = {"Resize": Operator(_resize, sizes=(1, 2, 3))}
