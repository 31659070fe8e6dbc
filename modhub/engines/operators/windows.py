"""`Window`: where the windows of convolutions and pooling lie, and the padding they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.engines.operators.operator import refuse, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Node

Padding = tuple[tuple[int, int], ...]
"""Cells before and after, for each spatial axis."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window that slides over the spatial axes. All tuples have one entry per spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Padding
    auto_pad: str
    rounds_up: bool

    @classmethod
    def of(cls, node: Node, kernel: Sequence[int]) -> Window:
        """Read a node's attributes, for a kernel of the given size."""
        axes = len(kernel)
        pads = node.ints("pads", (0,) * 2 * axes)
        return cls(
            kernel=tuple(kernel),
            strides=node.ints("strides", (1,) * axes),
            dilations=node.ints("dilations", (1,) * axes),
            pads=tuple(zip(pads[:axes], pads[axes:], strict=True)),
            auto_pad=text(node, "auto_pad", "NOTSET"),
            rounds_up=bool(node.integer("ceil_mode", 0)),
        )

    @property
    def reach(self) -> tuple[int, ...]:
        """Cells from the first to the last that a window covers."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def padding(self, size: Sequence[int]) -> Padding:
        """Return the declared padding for an input of spatial `size`, with `auto_pad` worked out."""
        if self.auto_pad == "VALID":
            return ((0, 0),) * len(self.kernel)
        if self.auto_pad == "NOTSET":
            return self.pads
        return tuple(self._same(axis, length) for axis, length in enumerate(size))

    def _same(self, axis: int, length: int) -> tuple[int, int]:
        stride = self.strides[axis]
        total = max(0, (-(-length // stride) - 1) * stride + self.reach[axis] - length)
        less = total // 2
        return (less, total - less) if self.auto_pad == "SAME_UPPER" else (total - less, less)

    def overhang(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the cells behind the padding that the last window needs because the output size is rounded up.

        A window that would start in the padding behind the input is left out, as ONNX and torch do.
        """
        if not self.rounds_up:
            return (0,) * len(self.kernel)
        return tuple(self._overhang(axis, length, self.padding(size)[axis]) for axis, length in enumerate(size))

    def _overhang(self, axis: int, length: int, pads: tuple[int, int]) -> int:
        stride, reach = self.strides[axis], self.reach[axis]
        padded = length + sum(pads)
        last = -(-(padded - reach) // stride)
        if last * stride >= length + pads[0]:
            last -= 1
        return max(0, last * stride + reach - padded)


def check_auto_pad(node: Node) -> None:
    """Refuse dilated windows whose padding is to keep the size: ONNX Runtime does so too, or reads them in its own way.

    Raises:
        UnsupportedOperator: the node has such windows.
    """
    mode = text(node, "auto_pad", "NOTSET")
    if mode.startswith("SAME") and set(node.ints("dilations", (1,))) != {1}:
        raise refuse(node, f"its windows are dilated and padded by {mode}")


def flat(padding: Padding) -> list[int]:
    """Return padding in the order of `torch.nn.functional.pad`: last axis first."""
    return [cells for pair in reversed(padding) for cells in pair]
