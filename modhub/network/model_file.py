"""ONNX files read without decoding their weights.

The protobuf library holds a file's bytes and the decoded message at once, the checker writes the message out again, and
every array is copied from it: four times the model. Here the fields of the file are walked instead, large arrays are
read straight into NumPy, and only what is left is decoded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from modhub.errors import InvalidNetwork

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from modhub.network.network import Array

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
GRAPH = 7
"""Number of the field `graph` of a model."""
ARRAYS = 5
"""Number of the field `initializer` of a graph."""
RAW = 9
"""Number of the field `raw_data` of a tensor."""

LARGE = 1024
"""Arrays with more elements are weights: checking and shape inference need their shapes, never their values."""

OUTSIDE = "weights"
"""What the location of an array is called that was taken out; nobody looks there."""


def read_model(file: BinaryIO, *, folder: Path | None = None) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return an ONNX model without its large arrays, and those by name.

    Args:
        file: the model, at its start; seekable.
        folder: where the files of external data lie; None where there can be none.

    Raises:
        InvalidNetwork: the bytes are no ONNX model, or an array does not have the size that its shape says.
        ValidationError: external data lies outside the folder (`onnx.checker`).
        OSError: external data cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError

    arrays: dict[str, Array] = {}
    try:
        model = onnx.load_model_from_string(bytes(_light_model(file, arrays)))
    except DecodeError as error:
        raise _no_model() from error
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL and tensor.name not in arrays:
            arrays[tensor.name] = _external(tensor, folder)
    return model, arrays


def outline(name: str, array: Array) -> onnx.TensorProto:
    """Return an array as checking and shape inference need it: large ones without their values."""
    from onnx import TensorProto, helper, numpy_helper

    if array.size <= LARGE:
        return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
    tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
    _move_outside(tensor)
    return tensor


def _move_outside(tensor: onnx.TensorProto) -> None:
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value=OUTSIDE)


def _light_model(file: BinaryIO, arrays: dict[str, Array]) -> bytearray:
    """Return the bytes of a model without its large arrays, which are added to `arrays`."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    light = bytearray()
    while file.tell() < end:
        key = _varint(file)
        if key != GRAPH << 3 | LENGTH:
            light += _field(file, key, end)
            continue
        stop = _stop(file, end)
        graph = bytearray()
        while file.tell() < stop:
            key = _varint(file)
            graph += _light_array(file, stop, arrays) if key == ARRAYS << 3 | LENGTH else _field(file, key, stop)
        light += _message(GRAPH, graph)
    return light


def _light_array(file: BinaryIO, end: int, arrays: dict[str, Array]) -> bytes:
    """Return an array's field; a large one is added to `arrays` and comes without its values."""
    from google.protobuf.message import DecodeError
    from onnx import TensorProto

    stop = _stop(file, end)
    rest, raw = bytearray(), b""
    while file.tell() < stop:
        key = _varint(file)
        if key == RAW << 3 | LENGTH:
            raw = _read(file, _stop(file, stop) - file.tell())
        else:
            rest += _field(file, key, stop)
    tensor = TensorProto()
    try:
        tensor.ParseFromString(bytes(rest))
    except DecodeError as error:
        raise _no_model() from error
    dtype = _plain_type(tensor)
    if dtype is None or len(raw) <= LARGE * dtype.itemsize or not tensor.name or tensor.name in arrays:
        tensor.raw_data = raw
        if not raw:
            tensor.ClearField("raw_data")
        return _message(ARRAYS, tensor.SerializeToString())
    shape = tuple(tensor.dims)
    if len(raw) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise InvalidNetwork(f"array {tensor.name!r} of shape {list(shape)} holds {len(raw)} bytes of {dtype}")
    arrays[tensor.name] = np.frombuffer(raw, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    _move_outside(tensor)
    return _message(ARRAYS, tensor.SerializeToString())


def _plain_type(tensor: onnx.TensorProto) -> np.dtype[np.generic] | None:
    """Return a tensor's type as its raw bytes spell it, or None where NumPy has no such type or it lies elsewhere."""
    from onnx import TensorProto, helper

    plain = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32)
    if tensor.data_type not in plain or tensor.data_location == TensorProto.EXTERNAL:
        return None
    return helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")


def _external(tensor: onnx.TensorProto, folder: Path | None) -> Array:
    """Return an array that lies in a file beside the model."""
    from onnx import TensorProto, numpy_helper
    from onnx.external_data_helper import load_external_data_for_tensor

    if folder is None:
        raise InvalidNetwork(f"keeps the array {tensor.name!r} in another file, which bytes alone do not have")
    copy = TensorProto()
    copy.CopyFrom(tensor)
    load_external_data_for_tensor(copy, str(folder))
    return numpy_helper.to_array(copy)


def _field(file: BinaryIO, key: int, end: int) -> bytes:
    """Return a field as it stands in the file, its key included; the key was read already."""
    wire = key & 7
    if wire == VARINT:
        return _number(key) + _number(_varint(file))
    if wire == LENGTH:
        length = _stop(file, end) - file.tell()
        return _number(key) + _number(length) + _read(file, length)
    if wire in FIXED:
        return _number(key) + _read(file, FIXED[wire])
    raise _no_model()


def _message(field: int, data: bytes | bytearray) -> bytes:
    return b"".join((_number(field << 3 | LENGTH), _number(len(data)), data))


def _stop(file: BinaryIO, end: int) -> int:
    """Return where a field ends whose length comes next."""
    length = _varint(file)
    if (stop := file.tell() + length) > end:
        raise _no_model()
    return stop


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _no_model()
    return data


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _read(file, 1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise _no_model()


def _number(value: int) -> bytes:
    """Return a number as protobuf spells it."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes(digits) + bytes([value])


def _no_model() -> InvalidNetwork:
    return InvalidNetwork("is not an ONNX model: the bytes cannot be decoded")
