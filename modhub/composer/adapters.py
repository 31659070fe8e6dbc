"""Adapters: from one input contract to another, inside the graph.

An adapter changes what a model is shown, so nothing is adapted that nobody asked for: each kind has to be declared.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import ComposeError
from modhub.network.network import Network, Node

if TYPE_CHECKING:
    from collections.abc import Collection

    from modhub.network.network import Array, Attribute
    from modhub.spec.ports import InputPort

KINDS = ("layout", "range", "channels", "resize")
"""What can be declared, in the order in which it is applied."""

LUMA = (0.299, 0.587, 0.114)
"""Grey from red, green and blue (ITU-R BT.601), as Pillow converts."""

NHWC_TO_NCHW, NCHW_TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
PREFIX = "adapter"


@dataclass(frozen=True, kw_only=True)
class Image:
    """What an image contract says that adapters can change."""

    layout: str
    channels: int
    height: int
    width: int
    range: tuple[float, float] | None

    @classmethod
    def of(cls, port: InputPort) -> Image:
        """Return the image of a contract.

        Raises:
            ComposeError: it is no image of a fixed size.
        """
        sizes = port.shape[1:]
        if port.kind != "image" or len(sizes) != 3 or not all(isinstance(size, int) for size in sizes):
            raise ComposeError(f"only images of a fixed size can be adapted, not {port}")
        first, second, third = (int(size) for size in sizes)
        if port.layout == "NHWC":
            return cls(layout="NHWC", channels=third, height=first, width=second, range=port.range)
        return cls(layout="NCHW", channels=first, height=second, width=third, range=port.range)


@dataclass
class Adapter:
    """Nodes from one contract to another, and what they do in words."""

    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    value: str = ""

    def add(self, op: str, *operands: Array, attributes: dict[str, Attribute] | None = None) -> None:
        """Add an operator on the value so far."""
        output = f"{PREFIX}/{len(self.nodes)}"
        names = [f"{output}.{number}" for number in range(len(operands))]
        self.arrays.update(zip(names, operands, strict=True))
        inputs = (self.value, *names)
        self.nodes.append(Node(op=op, inputs=inputs, outputs=(output,), attributes=attributes or {}, name=output))
        self.value = output


def needed(given: InputPort, wanted: InputPort) -> tuple[str, ...]:
    """Return the kinds of adapters between two contracts; none where they are one.

    Raises:
        ComposeError: no adapter leads from one to the other.
    """
    if given.key() == wanted.key():
        return ()
    before, after = Image.of(given), Image.of(wanted)
    if {before.channels, after.channels} not in ({1}, {3}, {1, 3}) and before.channels != after.channels:
        raise ComposeError(f"no adapter leads from {before.channels} channels to {after.channels}")
    if (before.range is None) != (after.range is None):
        raise ComposeError(f"one of the ranges is not known: {given} and {wanted}")
    differs = {
        "layout": before.layout != after.layout,
        "range": before.range != after.range,
        "channels": before.channels != after.channels,
        "resize": (before.height, before.width) != (after.height, after.width),
    }
    return tuple(kind for kind in KINDS if differs[kind])


def adapted(network: Network, given: InputPort, declared: Collection[str]) -> tuple[Network, tuple[str, ...]]:
    """Return a network that takes another contract's input, and what was done to it, in words.

    Args:
        network: what to put behind the adapters.
        given: the contract of what comes in.
        declared: the kinds of adapters that somebody asked for.

    Raises:
        ComposeError: an adapter is needed that was not declared, or there is none.
    """
    kinds = needed(given, network.input)
    missing = [kind for kind in kinds if kind not in declared]
    if missing:
        options = " ".join(f"--adapt {kind}" for kind in missing)
        raise ComposeError(f"the inputs differ: {given} comes in, {network.input} is wanted; declare it: {options}")
    if not kinds:
        return network, ()
    adapter = _adapter(given, Image.of(given), Image.of(network.input), kinds)
    renamed = [_reading(node, network.input.name, adapter.value) for node in network.nodes]
    whole = network.replace(nodes=(*adapter.nodes, *renamed), arrays={**network.arrays, **adapter.arrays}, input=given)
    return whole, tuple(adapter.steps)


def _adapter(given: InputPort, before: Image, after: Image, kinds: tuple[str, ...]) -> Adapter:
    adapter = Adapter(value=given.name)
    if before.layout == "NHWC":
        adapter.add("Transpose", attributes={"perm": NHWC_TO_NCHW})
    if "range" in kinds and before.range is not None and after.range is not None:
        scale = (after.range[1] - after.range[0]) / (before.range[1] - before.range[0])
        adapter.add("Mul", np.array(scale, np.float32))
        adapter.add("Add", np.array(after.range[0] - scale * before.range[0], np.float32))
        ranges = [f"{low:g}..{high:g}" for low, high in (before.range, after.range)]
        adapter.steps.append(f"values from {ranges[0]} to {ranges[1]}")
    if "channels" in kinds:
        weights = LUMA if after.channels == 1 else (1.0, 1.0, 1.0)
        matrix = np.array(weights, np.float32).reshape(after.channels, before.channels, 1, 1)
        adapter.add("Conv", matrix, attributes={"kernel_shape": (1, 1)})
        adapter.steps.append("colours to grey" if after.channels == 1 else "grey three times")
    if "resize" in kinds:
        _resize(adapter, before, after)
    if after.layout == "NHWC":
        adapter.add("Transpose", attributes={"perm": NCHW_TO_NHWC})
    if "layout" in kinds:
        adapter.steps.append(f"axes from {before.layout} to {after.layout}")
    return adapter


def _resize(adapter: Adapter, before: Image, after: Image) -> None:
    """Add bilinear interpolation, separable and with averaging where the image shrinks, as two matrix products."""
    rows = resize_matrix(before.height, after.height)
    columns = resize_matrix(before.width, after.width)
    adapter.add("MatMul", columns.T.copy())
    adapter.add("Transpose", attributes={"perm": (0, 1, 3, 2)})
    adapter.add("MatMul", rows.T.copy())
    adapter.add("Transpose", attributes={"perm": (0, 1, 3, 2)})
    adapter.steps.append(f"{before.height}x{before.width} to {after.height}x{after.width}, bilinear")


def resize_matrix(before: int, after: int) -> Array:
    """Return the matrix of bilinear interpolation along one axis, float32 ``[after, before]``.

    It is that of Pillow and of `torch.nn.functional.interpolate` with anti-aliasing: a triangle as wide as a step of
    the coarser grid, each row's weights adding up to one.
    """
    scale = before / after
    reach = max(1.0, scale)
    centres = (np.arange(after) + 0.5) * scale
    distance = np.abs(np.arange(before) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - distance)
    matrix: Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


def _reading(node: Node, old: str, new: str) -> Node:
    return dataclasses.replace(node, inputs=tuple(new if name == old else name for name in node.inputs))
