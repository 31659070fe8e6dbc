"""A strict reader of safetensors headers.

The library accepts duplicate names, padding before the header and non-finite numbers; readers then differ. What passes
here is read the same way by everybody.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.names import check_array_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Array

ITEM_SIZES = {"F32": 4, "F16": 2, "F64": 8, "I64": 8, "I32": 4, "U32": 4, "U8": 1, "BOOL": 1}
DTYPES = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "I64": np.int64,
    "I32": np.int32,
    "U32": np.uint32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One array of a safetensors file: element type, shape and byte range from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """The arrays of a safetensors file by name, and its free text."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


def read_header(data: bytes) -> Header:
    """Return the header of a safetensors file.

    Raises:
        FormatError: lengths disagree, the header is malformed or too large, a name occurs twice or is unsafe, an
            element type is unknown, or ranges overlap, leave gaps, or do not fit their shapes.
    """
    if len(data) < 8:
        raise FormatError(f"is {len(data)} bytes long, too short for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(limits.HEADER_BYTES, len(data) - 8):
        raise FormatError(f"announces a header of {length} bytes in a file of {len(data)}")
    text = data[8 : 8 + length]
    if not text.startswith(b"{"):
        raise FormatError("has a header that does not start with '{'")
    document = _parse(text)
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("expected texts only", where="__metadata__")
    if len(document) > limits.GRAPH_TENSORS:
        raise FormatError(f"holds {len(document)} arrays, at most {limits.GRAPH_TENSORS} are allowed")
    entries = {name: _entry(name, value, start=8 + length) for name, value in document.items()}
    _check_layout(entries, start=8 + length, end=len(data))
    return Header(entries=entries, metadata=metadata)


def read_arrays(data: bytes, header: Header) -> dict[str, Array]:
    """Return the arrays of a file whose header was read; they share its memory and are read-only.

    Raises:
        FormatError: a floating-point array holds NaN or infinity.
    """
    arrays = {}
    for name, entry in header.entries.items():
        count = (entry.end - entry.begin) // ITEM_SIZES[entry.dtype]
        flat = np.frombuffer(data, dtype=DTYPES[entry.dtype], count=count, offset=entry.begin)
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            raise FormatError("holds NaN or infinity", where=name)
        arrays[name] = flat.reshape(entry.shape)
    return arrays


def _parse(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise FormatError("names something twice in its header")
        return dict(pairs)

    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"has a header that is no JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise FormatError("has a header that is no object")
    return document


def _entry(name: str, value: object, *, start: int) -> Entry:
    try:
        check_array_name(name)
    except FormatError as error:
        raise FormatError(error.problem, where=repr(name)[:80]) from error
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise FormatError("expected dtype, shape and data_offsets", where=name)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if dtype not in ITEM_SIZES:
        raise FormatError(f"has the element type {str(dtype)[:20]!r}, known are {', '.join(ITEM_SIZES)}", where=name)
    if not _naturals(shape) or len(shape) > limits.TENSOR_RANK or not _naturals(offsets) or len(offsets) != 2:
        raise FormatError("expected lists of non-negative integers for shape and data_offsets", where=name)
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_SIZES[dtype]:
        raise FormatError(f"has {end - begin} bytes for shape {shape} of {dtype}", where=name)
    return Entry(dtype=dtype, shape=tuple(shape), begin=start + begin, end=start + end)


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= 2**40 for item in value)


def _check_layout(entries: Mapping[str, Entry], *, start: int, end: int) -> None:
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise FormatError(f"starts at byte {entry.begin}, expected {position}: ranges overlap or leave a gap", where=name)
        position = entry.end
    if position != end:
        raise FormatError(f"has {end - position} bytes after its last array")
