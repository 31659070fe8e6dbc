"""Networks of one node, for operators whose computation has a turn or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.networks import Builder

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.network.network import Array, Network


def one(op: str, *arrays: Array, shape: tuple[int, ...] = (2, 4, 4), **attributes: Any) -> Network:
    """Return a network of one node."""
    builder = Builder(shape=shape)
    return builder.build(builder.apply(op, builder.input, *[builder.array(array) for array in arrays], **attributes))


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def integers(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


SINGLE_NODES: dict[str, Callable[[], Network]] = {
    "asymmetric convolution": lambda: one("Conv", normal(4, 1, 3, 3), normal(4), group=2, pads=(0, 1, 2, 0)),
    "convolution over time": lambda: one("Conv", normal(3, 2, 2), shape=(2, 6), dilations=(2,)),
    "gemm": lambda: one("Gemm", normal(3, 5), normal(3), shape=(5,), transB=1, alpha=0.5, beta=2.0),
    "overhanging maximum": lambda: one("MaxPool", kernel_shape=(3, 3), strides=(2, 2), ceil_mode=1),
    "padded mean": lambda: one("AveragePool", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 0, 0, 1)),
    "dilated mean": lambda: one("AveragePool", kernel_shape=(2, 2), dilations=(2, 2)),
    "batch norm": lambda: one("BatchNormalization", normal(2), normal(2), normal(2), abs(normal(2)) + 1),
    "layer norm": lambda: one("LayerNormalization", normal(4), normal(4)),
    "group norm": lambda: one("GroupNormalization", normal(4), normal(4), shape=(4, 2, 2), num_groups=2),
    "instance norm": lambda: one("InstanceNormalization", normal(2), normal(2)),
    "local response": lambda: one("LRN", shape=(4, 2, 2), size=4, alpha=0.5),
    "softmax": lambda: one("Softmax", axis=1),
    "gelu": lambda: one("Gelu"),
    "selu": lambda: one("Selu"),
    "prelu": lambda: one("PRelu", normal(2, 1, 1)),
    "norm": lambda: one("ReduceL2", integers(2, 3)),
    "product": lambda: one("ReduceProd", integers(-1), keepdims=0),
    "cubic resize": lambda: one("Resize", normal(0), normal(0), integers(1, 2, 7, 3), mode="cubic"),
    "reflection": lambda: one("Pad", integers(0, 0, 2, 1, 0, 0, 1, 0), mode="reflect"),
    "reversed slice": lambda: one("Slice", integers(3), integers(0), integers(2), integers(-2)),
    "gather": lambda: one("Gather", integers(1, -2, 1), axis=3),
    "depth to space": lambda: one("DepthToSpace", shape=(4, 2, 2), blocksize=2),
    "einsum": lambda: one("Einsum", normal(4, 3), shape=(2, 4), equation="...i,io->...o"),
    "lstm": lambda: one(
        "LSTM", normal(2, 8, 2), normal(2, 8, 2), normal(2, 16), shape=(2, 2), direction="bidirectional", hidden_size=2
    ),
    "gru": lambda: one("GRU", normal(1, 6, 2), normal(1, 6, 2), normal(1, 12), shape=(2, 2), hidden_size=2),
    "rnn": lambda: one("RNN", normal(1, 2, 2), normal(1, 2, 2), shape=(2, 2), hidden_size=2, direction="reverse"),
}
