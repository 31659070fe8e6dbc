"""A strict reader of safetensors headers.

The library accepts duplicate names, padding before the header and non-finite numbers; readers then differ. What passes
here is read the same way by everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.errors import FormatError
from modhub.network.pages import pieces
from modhub.spec import limits
from modhub.spec.document import Fields, inside, list_of, natural, one_of, parse_json, shown, table_of
from modhub.spec.names import check_array_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.fsops import Buffer
    from modhub.network.network import Array

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U32": np.dtype("<u4"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
}
"""Element types of the format: weights and scores, token inputs, channel numbers, packed bits, weights in int8."""

ABOUT = "__metadata__.modhub"
"""Where a file of modhub's own says what it is."""


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


def read_header(data: Buffer) -> Header:
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
    text = bytes(data[8 : 8 + length])
    if not text.startswith(b"{"):
        raise FormatError("has a header that does not start with '{'")
    document = Fields(parse_json(text, limit=limits.HEADER_BYTES))
    metadata: dict[str, str] = document.optional("__metadata__", table_of(any_text), {})
    fields = document.rest()
    if len(fields) > limits.GRAPH_TENSORS:
        raise FormatError(f"holds {len(fields)} arrays, at most {limits.GRAPH_TENSORS} are allowed")
    entries = {name: _entry(name, value, start=8 + length) for name, value in fields.items()}
    _check_layout(entries, start=8 + length, end=len(data))
    return Header(entries=entries, metadata=metadata)


def read_arrays(data: Buffer, header: Header) -> dict[str, Array]:
    """Return the arrays of a file whose header was read; they share its memory and are read-only.

    Raises:
        FormatError: a floating-point array holds NaN or infinity.
    """
    arrays = {}
    for name, entry in header.entries.items():
        dtype = DTYPES[entry.dtype]
        count = (entry.end - entry.begin) // dtype.itemsize
        flat = np.frombuffer(data, dtype=dtype, count=count, offset=entry.begin)
        if flat.dtype.kind == "f" and not _is_finite(flat):
            raise FormatError("holds NaN or infinity", where=name)
        arrays[name] = flat.reshape(entry.shape)
    return arrays


def _is_finite(flat: Array) -> bool:
    return all(np.isfinite(np.frombuffer(piece, dtype=flat.dtype)).all() for piece in pieces(flat.view(np.uint8).data))


def read_own(data: Buffer, *, limit: int) -> tuple[Fields, dict[str, Array]]:
    """Return what a file of modhub's own says about itself in its metadata, under `ABOUT`, and its arrays.

    Args:
        data: the file.
        limit: most bytes of what it says.

    Raises:
        FormatError: the file is malformed, or says anything else; as `read_header` and `read_arrays` do.
    """
    header = read_header(data)
    arrays = read_arrays(data, header)
    if set(header.metadata) != {"modhub"}:
        raise FormatError("expected one entry, 'modhub'", where="__metadata__")
    with inside(ABOUT):
        return Fields(parse_json(header.metadata["modhub"].encode(), limit=limit)), arrays


def any_text(value: object) -> str:
    """Read a text of any length, line breaks included."""
    if not isinstance(value, str):
        raise FormatError(f"expected a string, got {shown(value)}")
    return value


def _entry(name: str, value: object, *, start: int) -> Entry:
    with inside(name):
        check_array_name(name)
        fields = Fields(value)
        dtype = fields.required("dtype", one_of(*DTYPES))
        shape = fields.required("shape", list_of(natural))
        offsets = fields.required("data_offsets", list_of(natural))
        if fields.rest():
            raise FormatError("expected dtype, shape and data_offsets only")
        _check_shape(shape)
        size = math.prod(shape) * DTYPES[dtype].itemsize
        if len(offsets) != 2 or offsets[1] - offsets[0] != size:
            raise FormatError(f"has the range {list(offsets)}, {list(shape)} of {dtype} takes {size} bytes")
    return Entry(dtype=dtype, shape=shape, begin=start + offsets[0], end=start + offsets[1])


def _check_shape(shape: tuple[int, ...]) -> None:
    # An array without elements may claim any other dimensions, and readers differ on how large they may be.
    if len(shape) > limits.TENSOR_RANK or math.prod(max(size, 1) for size in shape) > limits.FILE_BYTES:
        raise FormatError(f"has the shape {shown(str(list(shape)))}, which is too large")


def _check_layout(entries: Mapping[str, Entry], *, start: int, end: int) -> None:
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            problem = f"starts at byte {entry.begin}, expected {position}: ranges overlap or leave a gap"
            raise FormatError(problem, where=name)
        position = entry.end
    if position != end:
        raise FormatError(f"has {end - position} bytes after its last array")
