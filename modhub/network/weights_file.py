"""`weights.safetensors` written without copies of the weights.

The library takes every array as bytes and joins them, so it holds a network three times. Here the file is a list of
parts, a header and views of the arrays, for whoever joins, hashes or writes them. The bytes are the library's own:
tests compare them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Array

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int8": "I8"}
"""Widest first, as they lie in the file."""


def weight_parts(arrays: Mapping[str, Array]) -> tuple[list[bytes | memoryview], dict[str, tuple[int, int]]]:
    """Return a safetensors file of weights in parts, and each array's offset and length in it, in bytes."""
    order = list(DTYPES)
    names = sorted(arrays, key=lambda name: (order.index(arrays[name].dtype.name), name))
    header: dict[str, object] = {}
    position = 0
    for name in names:
        array = arrays[name]
        end = position + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": (position, end)}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
    ranges: dict[str, tuple[int, int]] = {}
    for name in names:
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        parts.append(array.reshape(-1).view(np.uint8).data if array.size else b"")
        ranges[name] = (start, array.nbytes)
        start += array.nbytes
    return parts, ranges
