"""ONNX models as people's exporters write them, from ONNX's own text syntax.

data = onnx_bytes("(float[N, 4] x) => (float[N, 3] y) { y = Gemm(x, w, b) }", w=weights, b=bias)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper, parser

if TYPE_CHECKING:
    import onnx

    from modhub.network.network import Array


def onnx_model(graph: str, *, opset: int = 20, **arrays: Array) -> onnx.ModelProto:
    """Return the model of a graph in text, with its initializers as arrays."""
    proto = parser.parse_graph(f"graph {graph}")
    proto.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def onnx_bytes(graph: str, *, opset: int = 20, **arrays: Array) -> bytes:
    """Return the bytes of `onnx_model`."""
    data: bytes = onnx_model(graph, opset=opset, **arrays).SerializeToString()
    return data


def run_model(data: bytes, x: Array) -> Array:
    """Return what ONNX Runtime computes for a model's one input, without any help of ours."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
    return result


def floats(*shape: int, seed: int = 0) -> Array:
    """Return normally distributed float32 numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    """Return a list of int64 numbers."""
    return np.array(numbers, dtype=np.int64)
