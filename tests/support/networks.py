"""Small networks with random weights: a builder for tests, and hypothesis strategies that use it.

    builder = Builder(shape=(3, 8, 8), seed=0)
    x = builder.relu(builder.conv(builder.input, 4))
    network = builder.build(builder.gemm(builder.flatten(x), 10))

Every method adds nodes and returns the name of the value they make. What comes out is in
normal form, except where a test asks for something else through `apply`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from modhub.network.network import BATCH, Network, Node
from modhub.spec.ports import InputPort

if TYPE_CHECKING:
    from modhub.network.network import Array, Attribute

Size = tuple[int, ...]


class Builder:
    """A network under construction.

    Args:
        shape: shape of the input without the batch; ``(channels, height, width)`` is an image, ``(length,)`` features.
        seed: seed of the weights.
        vocabulary: makes an input ``(length,)`` tokens instead of features, of as many kinds.

    `shapes` maps each value to its shape without the batch.
    """

    def __init__(self, *, shape: Size, seed: int = 0, vocabulary: int | None = None) -> None:
        self.random = np.random.default_rng(seed)
        self.port = _port(shape, vocabulary)
        self.input = self.port.name
        self.nodes: list[Node] = []
        self.arrays: dict[str, Array] = {}
        self.shapes: dict[str, Size] = {self.input: shape}

    def conv(
        self,
        value: str,
        channels: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> str:
        """Add a convolution; by default its padding keeps the size."""
        incoming, *size = self.shapes[value]
        pad = dilation * (kernel - 1) // 2 if padding is None else padding
        dims = len(size)
        weights = [self.weight((channels, incoming // groups, *[kernel] * dims))]
        weights += [self.bias(channels)] if bias else []
        reach = dilation * (kernel - 1) + 1
        return self.apply(
            "Conv",
            value,
            *weights,
            shape=(channels, *((length + 2 * pad - reach) // stride + 1 for length in size)),
            kernel_shape=(kernel,) * dims,
            strides=(stride,) * dims,
            pads=(pad,) * 2 * dims,
            dilations=(dilation,) * dims,
            group=groups,
        )

    def depthwise(self, value: str, *, kernel: int = 3, stride: int = 1) -> str:
        """Add a convolution with one kernel per channel."""
        channels = self.shapes[value][0]
        return self.conv(value, channels, kernel=kernel, stride=stride, groups=channels)

    def gemm(self, value: str, units: int) -> str:
        """Add a fully connected layer, weights ``[units, incoming]``."""
        (incoming,) = self.shapes[value]
        return self.apply("Gemm", value, self.weight((units, incoming)), self.bias(units), shape=(units,), transB=1)

    def matmul(self, value: str, units: int) -> str:
        """Add a product with a matrix ``[incoming, units]`` over the last axis, and a bias."""
        *leading, incoming = self.shapes[value]
        weights = self.array((self.random.standard_normal((incoming, units)) / math.sqrt(incoming)).astype(np.float32))
        product = self.apply("MatMul", value, weights, shape=(*leading, units))
        return self.apply("Add", product, self.bias(units))

    def reshape(self, value: str, *shape: int) -> str:
        """Add a reshape that leaves the batch first."""
        target = self.array(np.array([0, *shape], dtype=np.int64))
        return self.apply("Reshape", value, target, shape=shape)

    def transpose(self, value: str, *order: int) -> str:
        """Add a transposition; `order` tells where each axis behind the batch comes from, counted from one."""
        shape = tuple(self.shapes[value][axis - 1] for axis in order)
        return self.apply("Transpose", value, shape=shape, perm=(0, *order))

    def relu(self, value: str) -> str:
        """Add a rectifier."""
        return self.apply("Relu", value)

    def max_pool(self, value: str, *, kernel: int = 2, stride: int = 2) -> str:
        """Add max pooling without padding."""
        return self._pool("MaxPool", value, kernel, stride)

    def average_pool(self, value: str, *, kernel: int = 2, stride: int = 2) -> str:
        """Add average pooling without padding."""
        return self._pool("AveragePool", value, kernel, stride)

    def _pool(self, op: str, value: str, kernel: int, stride: int) -> str:
        channels, *size = self.shapes[value]
        shape = (channels, *((length - kernel) // stride + 1 for length in size))
        dims = len(size)
        return self.apply(op, value, shape=shape, kernel_shape=(kernel,) * dims, strides=(stride,) * dims)

    def global_pool(self, value: str) -> str:
        """Add global average pooling, ``[channels, 1, 1]``."""
        channels, *size = self.shapes[value]
        return self.apply("GlobalAveragePool", value, shape=(channels, *[1] * len(size)))

    def flatten(self, value: str) -> str:
        """Add a flattening of everything but the batch."""
        return self.apply("Flatten", value, shape=(math.prod(self.shapes[value]),), axis=1)

    def add(self, left: str, right: str) -> str:
        """Add an addition of two values of equal shape."""
        return self.apply("Add", left, right)

    def concat(self, *values: str) -> str:
        """Add a concatenation of channels."""
        _, *size = self.shapes[values[0]]
        return self.apply("Concat", *values, shape=(sum(self.shapes[v][0] for v in values), *size), axis=1)

    def split(self, value: str, *sizes: int, axis: int = 1) -> tuple[str, ...]:
        """Add a split along an axis, counted with the batch."""
        outputs = tuple(f"split{len(self.nodes)}.{part}" for part in range(len(sizes)))
        inputs = (value, self.array(np.array(sizes, dtype=np.int64)))
        self.nodes.append(Node(op="Split", inputs=inputs, outputs=outputs, attributes={"axis": axis}, name=outputs[0]))
        shape = self.shapes[value]
        for name, size in zip(outputs, sizes, strict=True):
            self.shapes[name] = (*shape[: axis - 1], size, *shape[axis:])
        return outputs

    def apply(self, op: str, *inputs: str, shape: Size | None = None, **attributes: Attribute) -> str:
        """Add any node with one output; its shape is that of the first input unless given."""
        output = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(Node(op=op, inputs=inputs, outputs=(output,), attributes=attributes, name=output))
        self.shapes[output] = self.shapes[inputs[0]] if shape is None else shape
        return output

    def weight(self, shape: Size) -> str:
        """Store normally distributed weights, scaled so that values keep their magnitude, and return their name."""
        fan_in = math.prod(shape[1:]) or 1
        return self.array((self.random.standard_normal(shape) / math.sqrt(fan_in)).astype(np.float32))

    def bias(self, size: int) -> str:
        """Store a small random bias and return its name."""
        return self.array((0.1 * self.random.standard_normal(size)).astype(np.float32))

    def array(self, array: Array) -> str:
        """Store an array and return its name."""
        name = f"array{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def build(self, output: str) -> Network:
        """Return the network that ends at a value."""
        return Network(
            nodes=tuple(self.nodes),
            arrays=self.arrays,
            input=self.port,
            output=output,
            output_shape=(BATCH, *self.shapes[output]),
        )


def _port(shape: Size, vocabulary: int | None) -> InputPort:
    if vocabulary is not None:
        return InputPort(name="tokens", kind="tokens", dtype="int64", shape=(BATCH, *shape), vocabulary=vocabulary)
    if len(shape) == 3:
        color = {1: "gray", 3: "RGB"}.get(shape[0])
        return InputPort(
            name="image",
            kind="image",
            dtype="float32",
            layout="NCHW",
            shape=(BATCH, *shape),
            range=(0.0, 1.0),
            color=color,
        )
    kind = {1: "features", 2: "audio"}[len(shape)]
    return InputPort(name=kind, kind=kind, dtype="float32", shape=(BATCH, *shape))


def inputs_for(network: Network, *, batch: int = 3, seed: int = 1) -> Array:
    """Return random inputs in [0, 1) that fit a network; for tokens, whole numbers below the vocabulary, or 100."""
    shape = (batch, *(int(size) for size in network.input.shape[1:]))
    random = np.random.default_rng(seed)
    if network.input.dtype == "int64":
        return random.integers(0, network.input.vocabulary or 100, shape)
    return random.random(shape, dtype=np.float32)


@st.composite
def networks(draw: st.DrawFn, *, max_blocks: int = 4) -> Network:
    """Return image classifiers: up to `max_blocks` plain, residual, dense, depthwise or pooled blocks, then a head."""
    channels, side = draw(st.integers(1, 3)), draw(st.integers(4, 9))
    builder = Builder(shape=(channels, side, side), seed=draw(st.integers(0, 2**16)))
    value = builder.relu(builder.conv(builder.input, draw(st.integers(2, 8)), kernel=draw(st.sampled_from((1, 3)))))
    for _ in range(draw(st.integers(0, max_blocks))):
        block = draw(st.sampled_from((_plain, _residual, _dense, _separable, _grouped, _pooled)))
        value = block(draw, builder, value)
    return builder.build(_classifier(draw, builder, value))


@st.composite
def perceptrons(draw: st.DrawFn, *, max_layers: int = 3) -> Network:
    """Return classifiers of feature vectors with up to `max_layers` hidden layers."""
    builder = Builder(shape=(draw(st.integers(1, 12)),), seed=draw(st.integers(0, 2**16)))
    value = builder.input
    for _ in range(draw(st.integers(0, max_layers))):
        value = builder.relu(builder.gemm(value, draw(st.integers(1, 12))))
    return builder.build(builder.gemm(value, draw(st.integers(2, 6))))


def _plain(draw: st.DrawFn, builder: Builder, value: str) -> str:
    stride, dilation = draw(st.sampled_from(((1, 1), (2, 1), (1, 2))))
    convolved = builder.conv(
        value, draw(st.integers(2, 10)), stride=stride, dilation=dilation, bias=draw(st.booleans())
    )
    return builder.relu(convolved)


def _residual(draw: st.DrawFn, builder: Builder, value: str) -> str:
    channels = draw(st.sampled_from((builder.shapes[value][0], 6)))
    stride = draw(st.sampled_from((1, 2)))
    inner = builder.relu(builder.conv(value, draw(st.integers(2, 8)), stride=stride))
    branch = builder.conv(inner, channels)
    is_same = builder.shapes[branch] == builder.shapes[value]
    shortcut = value if is_same else builder.conv(value, channels, kernel=1, stride=stride)
    return builder.relu(builder.add(branch, shortcut))


def _dense(draw: st.DrawFn, builder: Builder, value: str) -> str:
    branches = [builder.relu(builder.conv(value, draw(st.integers(1, 5)), kernel=kernel)) for kernel in (1, 3)]
    keep = [value] if draw(st.booleans()) else []
    return builder.concat(*keep, *branches)


def _separable(draw: st.DrawFn, builder: Builder, value: str) -> str:
    spatial = builder.relu(builder.depthwise(value, stride=draw(st.sampled_from((1, 2)))))
    return builder.relu(builder.conv(spatial, draw(st.integers(2, 8)), kernel=1))


def _grouped(draw: st.DrawFn, builder: Builder, value: str) -> str:
    groups = draw(st.sampled_from((2, 3)))
    widened = builder.relu(builder.conv(value, groups * draw(st.integers(1, 3)), kernel=1))
    return builder.relu(builder.conv(widened, groups * draw(st.integers(1, 3)), groups=groups))


def _pooled(draw: st.DrawFn, builder: Builder, value: str) -> str:
    if min(builder.shapes[value][1:]) < 2:
        return value
    pool = draw(st.sampled_from((builder.max_pool, builder.average_pool)))
    return pool(value, stride=draw(st.sampled_from((1, 2))))


def _classifier(draw: st.DrawFn, builder: Builder, value: str) -> str:
    pooled = builder.global_pool(value) if draw(st.booleans()) else value
    flat = builder.flatten(pooled)
    if draw(st.booleans()):
        flat = builder.relu(builder.gemm(flat, draw(st.integers(1, 10))))
    return builder.gemm(flat, draw(st.integers(2, 6)))
