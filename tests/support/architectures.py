"""Hypothesis strategies for networks beyond plain convolutions: all that channels can run into on their way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from modhub.network.network import Node
from tests.support.networks import Builder

if TYPE_CHECKING:
    from modhub.network.network import Attribute, Network

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@st.composite
def convolutional(draw: st.DrawFn, *, max_blocks: int = 4) -> Network:
    """Return image classifiers of blocks that gate, split, shuffle, normalise, slice and pick channels."""
    side = draw(st.integers(3, 6))
    builder = Builder(shape=(3, side, side), seed=draw(st.integers(0, 2**16)))
    value = builder.relu(builder.conv(builder.input, 2 * draw(st.integers(2, 4))))
    for _ in range(draw(st.integers(1, max_blocks))):
        block = draw(st.sampled_from((_excited, _grouped, _shuffled, _normed, _activated, _parted, _picked, _padded)))
        value = block(draw, builder, value)
        if draw(st.booleans()):
            value = builder.relu(builder.conv(value, 2 * draw(st.integers(1, 4)), kernel=1))
    pooled = builder.flatten(builder.global_pool(value) if draw(st.booleans()) else value)
    return builder.build(builder.gemm(pooled, draw(st.integers(2, 5))))


def _excited(draw: st.DrawFn, builder: Builder, value: str) -> str:
    channels = builder.shapes[value][0]
    squeezed = builder.relu(builder.conv(builder.global_pool(value), draw(st.integers(1, 4)), kernel=1))
    gate = builder.apply("Sigmoid", builder.conv(squeezed, channels, kernel=1))
    return builder.apply("Mul", value, gate)


def _grouped(draw: st.DrawFn, builder: Builder, value: str) -> str:
    groups = draw(st.sampled_from((2, 3)))
    widened = builder.conv(value, groups * draw(st.integers(1, 3)), kernel=1)
    return builder.conv(widened, groups * draw(st.integers(1, 3)), groups=groups)


def _shuffled(draw: st.DrawFn, builder: Builder, value: str) -> str:
    channels, *size = builder.shapes[value]
    if channels % 2:
        return value
    left, right = builder.split(value, channels // 2, channels // 2)
    branch = builder.relu(builder.conv(right, channels // 2, kernel=draw(st.sampled_from((1, 3)))))
    parts = builder.reshape(builder.concat(left, branch), 2, channels // 2, *size)
    return builder.reshape(builder.transpose(parts, 2, 1, 3, 4), channels, *size)


def _normed(draw: st.DrawFn, builder: Builder, value: str) -> str:
    channels, *size = builder.shapes[value]
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    grouped = builder.reshape(value, groups, channels // groups * math.prod(size))
    scale, shift = builder.bias(groups), builder.bias(groups)
    normed = builder.reshape(builder.apply("InstanceNormalization", grouped, scale, shift), channels, *size)
    return builder.apply("Mul", normed, builder.weight((channels, 1, 1)))


def _activated(draw: st.DrawFn, builder: Builder, value: str) -> str:
    if draw(st.booleans()):
        bounds = [builder.array(np.array(bound, dtype=np.float32)) for bound in (0, 6)]
        return builder.apply("Clip", value, *bounds)
    if draw(st.booleans()):
        return builder.apply("HardSwish", value)
    return builder.apply("PRelu", value, builder.weight((builder.shapes[value][0], 1, 1)))


def _parted(draw: st.DrawFn, builder: Builder, value: str) -> str:
    channels, *size = builder.shapes[value]
    start = draw(st.integers(0, channels - 1))
    end = draw(st.integers(start + 1, channels))
    bounds = [builder.array(np.array([n], dtype=np.int64)) for n in (start, end, 1)]
    part = builder.apply("Slice", value, *bounds, shape=(end - start, *size))
    return builder.concat(part, value) if draw(st.booleans()) else part


def _picked(draw: st.DrawFn, builder: Builder, value: str) -> str:
    channels, *size = builder.shapes[value]
    chosen = draw(st.lists(st.integers(-channels, channels - 1), min_size=1, max_size=2 * channels))
    indices = builder.array(np.array(chosen, dtype=np.int64))
    return builder.apply("Gather", value, indices, shape=(len(chosen), *size), axis=1)


def _padded(draw: st.DrawFn, builder: Builder, value: str) -> str:
    bare = builder.apply("Tanh", builder.input)
    if builder.shapes[value][1:] != builder.shapes[bare][1:]:
        return value
    parts = (value, bare) if draw(st.booleans()) else (bare, value)
    return builder.concat(*parts)


@st.composite
def transformers(draw: st.DrawFn) -> Network:
    """Return classifiers of token sequences: attention blocks of every spelling, MLPs and layer-norm."""
    length, heads, width = draw(st.integers(2, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    builder = Builder(shape=(length,), seed=draw(st.integers(0, 2**16)), vocabulary=9)
    value = _embedded(builder, heads * width)
    normalised = draw(st.booleans())
    for _ in range(draw(st.integers(1, 2))):
        attend = draw(st.sampled_from((_attention_from_one_product, _attention_from_three_products)))
        mixed = attend(builder, _layer_norm(builder, value) if normalised else value, heads)
        value = builder.add(value, builder.matmul(mixed, heads * width)) if draw(st.booleans()) else mixed
        hidden = builder.apply("Gelu", builder.matmul(value, draw(st.integers(1, 5))))
        value = builder.add(builder.matmul(hidden, heads * width), value)
    if draw(st.booleans()):
        first = builder.array(np.array(0, dtype=np.int64))
        summary = builder.apply("Gather", value, first, shape=(heads * width,), axis=1)
    else:
        axes = builder.array(np.array([1], dtype=np.int64))
        summary = builder.apply("ReduceMean", value, axes, shape=(heads * width,), keepdims=0)
    return builder.build(builder.gemm(summary, 3))


def _embedded(builder: Builder, width: int) -> str:
    table, (length,) = builder.weight((9, width)), builder.shapes[builder.input]
    return builder.apply("Gather", table, builder.input, shape=(length, width))


def _layer_norm(builder: Builder, value: str) -> str:
    width = builder.shapes[value][-1]
    return builder.apply("LayerNormalization", value, builder.bias(width), builder.bias(width), axis=-1)


def _attention_from_three_products(builder: Builder, value: str, heads: int) -> str:
    length, width = builder.shapes[value]
    orders = ((2, 1, 3), (2, 3, 1), (2, 1, 3))
    queries, keys, values = (
        builder.transpose(builder.reshape(builder.matmul(value, width), length, heads, width // heads), *order)
        for order in orders
    )
    return _attended(builder, queries, keys, values)


def _attention_from_one_product(builder: Builder, value: str, heads: int) -> str:
    length, width = builder.shapes[value]
    joint = builder.reshape(builder.matmul(value, 3 * width), length, 3, heads, width // heads)
    parts = builder.split(builder.transpose(joint, 2, 3, 1, 4), 1, 1, 1)
    axis = builder.array(np.array([1], dtype=np.int64))
    shape = (heads, length, width // heads)
    queries, keys, values = (builder.apply("Squeeze", part, axis, shape=shape) for part in parts)
    return _attended(builder, queries, builder.transpose(keys, 1, 3, 2), values)


def _attended(builder: Builder, queries: str, keys: str, values: str) -> str:
    heads, length, width = builder.shapes[queries]
    scale = builder.array(np.array(1 / math.sqrt(width), dtype=np.float32))
    products = builder.apply("MatMul", builder.apply("Mul", queries, scale), keys, shape=(heads, length, length))
    mixed = builder.apply("MatMul", builder.apply("Softmax", products, axis=-1), values, shape=(heads, length, width))
    return builder.reshape(builder.transpose(mixed, 2, 1, 3), length, heads * width)


@st.composite
def recurrent(draw: st.DrawFn) -> Network:
    """Return classifiers of token sequences with one or two recurrent layers in one direction or both."""
    length = draw(st.integers(1, 4))
    builder = Builder(shape=(length,), seed=draw(st.integers(0, 2**16)), vocabulary=9)
    width = draw(st.integers(1, 5))
    value = builder.apply("Transpose", _embedded(builder, width), shape=(length, width), perm=(1, 0, 2))
    for _ in range(draw(st.integers(0, 1))):
        value, _, width = _recurrent_layer(draw, builder, value, width)
    _, last, width = _recurrent_layer(draw, builder, value, width)
    ends = builder.apply("Transpose", last, shape=builder.shapes[last], perm=(1, 0, 2))
    return builder.build(builder.gemm(builder.reshape(ends, width), 3))


def _recurrent_layer(draw: st.DrawFn, builder: Builder, value: str, width: int) -> tuple[str, str, int]:
    """Add a layer; return its states ``[time, batch, width]``, its last states, and their width over all directions."""
    op = draw(st.sampled_from(sorted(GATES)))
    direction = draw(st.sampled_from(("forward", "reverse", "bidirectional")))
    directions, units, gates = 1 + (direction == "bidirectional"), draw(st.integers(1, 5)), GATES[op]
    weights = [builder.weight((directions, gates * units, size)) for size in (width, units)]
    weights.append(builder.weight((directions, 2 * gates * units)) if draw(st.booleans()) else "")
    if op == "LSTM" and draw(st.booleans()):
        weights += ["", "", "", builder.weight((directions, 3 * units))]
    own = {"linear_before_reset": draw(st.integers(0, 1))} if op == "GRU" else {}
    states, last = (f"{op.lower()}{len(builder.nodes)}.{part}" for part in ("states", "last"))
    attributes: dict[str, Attribute] = {"hidden_size": units, "direction": direction, **own}
    node = Node(op=op, inputs=(value, *weights), outputs=(states, last), attributes=attributes, name=states)
    builder.nodes.append(node)
    length = builder.shapes[value][0]
    builder.shapes.update({states: (length, directions, units), last: (directions, units)})
    moved = builder.apply("Transpose", states, shape=(length, directions, units), perm=(0, 2, 1, 3))
    target = builder.array(np.array([0, 0, -1], dtype=np.int64))
    return builder.apply("Reshape", moved, target, shape=(length, directions * units)), last, directions * units


@st.composite
def tangled(draw: st.DrawFn, *, max_steps: int = 7) -> Network:
    """Return networks no person would write: values of any shape, moved, split, multiplied and joined at random."""
    builder = Builder(shape=(draw(st.integers(1, 6)),), seed=draw(st.integers(0, 2**16)))
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    value = builder.reshape(builder.relu(builder.gemm(builder.input, math.prod(shape))), *shape)
    known = [value]
    for _ in range(draw(st.integers(1, max_steps))):
        step = draw(st.sampled_from((_moved, _refolded, _multiplied, _squared, _mixed, _joined, _cut_out, _scaled)))
        value = step(draw, builder, draw(st.sampled_from(known[-2:])), known)
        if math.prod(builder.shapes[value]) <= 400:
            known.append(value)
    return builder.build(builder.gemm(builder.flatten(known[-1]), 3))


def _moved(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:  # noqa: ARG001
    order = draw(st.permutations(range(1, len(builder.shapes[value]) + 1)))
    return builder.transpose(value, *order)


def _refolded(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:  # noqa: ARG001
    rest, shape = math.prod(builder.shapes[value]), []
    for _ in range(draw(st.integers(1, 3))):
        shape.append(draw(st.sampled_from([size for size in range(1, rest + 1) if rest % size == 0])))
        rest //= shape[-1]
    return builder.reshape(value, *shape, rest)


def _multiplied(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:  # noqa: ARG001
    return builder.matmul(value, draw(st.integers(1, 4)))


def _squared(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:
    others = [name for name in known if len(builder.shapes[name]) == len(builder.shapes[value]) > 1]
    other = draw(st.sampled_from(others or [value]))
    rank = len(builder.shapes[other])
    if rank < 2:
        return value
    flipped = builder.transpose(other, *range(1, rank - 1), rank, rank - 1)
    (*left, rows, inner), (*right, same, columns) = builder.shapes[value], builder.shapes[flipped]
    if inner != same or any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        return value
    leading = [max(a, b) for a, b in zip(left, right, strict=True)]
    return builder.apply("MatMul", value, flipped, shape=(*leading, rows, columns))


def _mixed(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:  # noqa: ARG001
    shape = builder.shapes[value]
    axis = draw(st.integers(1, len(shape)))
    if draw(st.booleans()):
        return builder.apply("Softmax", value, axis=axis)
    axes = builder.array(np.array([axis], dtype=np.int64))
    return builder.apply("ReduceMean", value, axes, shape=(*shape[: axis - 1], 1, *shape[axis:]), keepdims=1)


def _joined(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:
    shape = builder.shapes[value]
    same = [name for name in known if builder.shapes[name] == shape]
    other = draw(st.sampled_from(same or [value]))
    op = draw(st.sampled_from(("Add", "Mul", "Max", "Concat")))
    if op != "Concat":
        return builder.apply(op, value, other)
    axis = draw(st.integers(1, len(shape)))
    return builder.apply(
        "Concat", value, other, shape=(*shape[: axis - 1], 2 * shape[axis - 1], *shape[axis:]), axis=axis
    )


def _cut_out(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:  # noqa: ARG001
    shape = builder.shapes[value]
    axis = draw(st.integers(1, len(shape)))
    start = draw(st.integers(0, shape[axis - 1] - 1))
    if draw(st.booleans()):
        position = builder.array(np.array(start, dtype=np.int64))
        rest = (*shape[: axis - 1], *shape[axis:])
        return builder.apply("Gather", value, position, shape=rest, axis=axis) if len(rest) > 1 else value
    sizes = [size for size in (start, shape[axis - 1] - start) if size]
    return builder.split(value, *sizes, axis=axis)[-1]


def _scaled(draw: st.DrawFn, builder: Builder, value: str, known: list[str]) -> str:  # noqa: ARG001
    shape = builder.shapes[value]
    own = [size if draw(st.booleans()) else 1 for size in shape[draw(st.integers(0, len(shape))) :]]
    constant = builder.array(builder.random.standard_normal(own).astype(np.float32))
    return builder.apply(draw(st.sampled_from(("Add", "Mul", "Max"))), value, constant)
