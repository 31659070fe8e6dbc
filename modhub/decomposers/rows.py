"""Where the values of a network hold its samples, and how the modules of a batch are folded in there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.network.network import BATCH
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    import torch

    from modhub.network.network import Network, Node, Shape

REFOLDING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that keep the order of all elements."""


@dataclass(frozen=True)
class Rows:
    """Where a value holds the samples: along `axis`, whose length is ``before * samples * after``.

    Both factors are one unless other axes were folded into that of the samples, as attention over ``[time, batch,
    width]`` does.
    """

    axis: int
    before: int = 1
    after: int = 1

    def spread(self, tensor: torch.Tensor, modules: int, *, apart: bool) -> torch.Tensor:
        """Return ``[..., before, modules, samples * after, ...]``, repeating what all modules share.

        Args:
            tensor: the value.
            modules: how many modules there are.
            apart: whether each module has samples of its own in it already.
        """
        left, right = tensor.shape[: self.axis], tensor.shape[self.axis + 1 :]
        if apart:
            return tensor.reshape(*left, self.before, modules, -1, *right)
        shared = tensor.reshape(*left, self.before, 1, -1, *right)
        sizes = [-1] * shared.ndim
        sizes[self.axis + 1] = modules
        return shared.expand(sizes)

    def fold(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what `spread` returned with the modules back among the samples."""
        return tensor.flatten(self.axis, self.axis + 2)

    def shaped(self, factors: torch.Tensor, *, along: int, rank: int) -> torch.Tensor:
        """Return factors ``[modules, samples or 1, channels]`` so that they broadcast over what `spread` returned.

        Args:
            factors: a number per channel, module, and perhaps sample.
            along: the value's axis of channels.
            rank: the number of the value's axes.
        """
        if factors.shape[1] > 1:
            factors = factors.repeat_interleave(self.after, dim=1)
        shape = [1] * (rank + 2)
        shape[self.axis + 1], shape[self.axis + 2] = factors.shape[:2]
        shape[along if along < self.axis else along + 2] = factors.shape[2]
        return (factors.permute(2, 0, 1) if along < self.axis else factors).reshape(shape)


def rows_of(network: Network) -> dict[str, Rows]:
    """Map every value that holds the samples to where it holds them.

    Raises:
        InvalidNetwork: shapes cannot be inferred.
    """
    shapes = infer_shapes(network)
    found = {network.input.name: Rows(0)}
    for node in network.nodes:
        for name in node.outputs:
            if name and (axis := _sample_axis(shapes[name])) is not None:
                found[name] = _rows(node, shapes, found, shape=shapes[name], axis=axis)
    return found


def _sample_axis(shape: Shape) -> int | None:
    return next((axis for axis, size in enumerate(shape) if isinstance(size, str)), None)


def _rows(node: Node, shapes: dict[str, Shape], found: dict[str, Rows], *, shape: Shape, axis: int) -> Rows:
    """Return where a result holds the samples, along one axis; refolding keeps the order of all elements."""
    size = str(shape[axis])
    if size == BATCH:
        return Rows(axis)
    each = int(size.removeprefix(f"{BATCH}*"))
    if node.op in REFOLDING:
        source = node.inputs[0]
        before = math.prod(int(length) for length in shapes[source][: found[source].axis]) * found[source].before
        before //= math.prod(int(length) for length in shape[:axis])
        return Rows(axis, before, each // before)
    same = [found[name] for name in node.inputs if name in found and size in shapes[name]]
    return Rows(axis, same[0].before, same[0].after) if same else Rows(axis, 1, each)
