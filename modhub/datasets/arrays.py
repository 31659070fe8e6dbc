"""Data sets from files of arrays: `.npz` and `.safetensors`.

Both are read as data only: no pickle is ever loaded, and every size is compared with what is
really there before memory is taken for it.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.datasets.dataset import Dataset, listed
from modhub.errors import InvalidData

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from modhub.datasets.arrange import Array

# Bytes of one data set in memory. CIFAR-100 takes a twentieth; a file that claims more is a mistake or an attack.
DATA_LIMIT = 4 * 2**30

NPY_SUFFIX = ".npy"
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: Path) -> Dataset:
    """Return the data set of an `.npz` file with `x`, and perhaps `y` and `classes`.

    Raises:
        InvalidData: it is no archive of plain arrays, lacks `x`, is too large, or the arrays do not fit together.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(NPY_SUFFIX): info for info in archive.infolist()}
            check_names(members)
            wanted = {name: members[name] for name in ("x", "y", "classes") if name in members}
            check_size(sum(info.file_size for info in wanted.values()))
            arrays = {name: read_member(archive, info=info, name=name) for name, info in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: an encrypted member
        raise InvalidData(f"not a readable .npz archive: {error}") from error
    classes = arrays.get("classes")
    return Dataset.of(
        arrays["x"], y=arrays.get("y"), classes=None if classes is None else class_names(classes), name=path.stem
    )


def read_member(archive: zipfile.ZipFile, *, info: zipfile.ZipInfo, name: str) -> Array:
    """Return one array of an archive.

    Raises:
        InvalidData: compressed in an unusual way, or no plain array.
    """
    if info.compress_type not in COMPRESSIONS:
        raise InvalidData("compressed by a method that .npz files do not use", where=name)
    # Reading stops at the announced size, so `check_size` has bounded it.
    data = archive.read(info)
    try:
        return parse_npy(data)
    except ValueError as error:
        raise InvalidData(f"not a plain array: {error}", where=name) from error


def parse_npy(data: bytes) -> Array:
    """Return the array of an `.npy` file's bytes.

    NumPy's own reader takes memory for the shape in the header before it has looked for the values, hence this one.

    Raises:
        ValueError: it is malformed, holds Python objects, or the shape disagrees with the bytes.
    """
    stream = io.BytesIO(data)
    try:
        shape, fortran_order, dtype = read_npy_header(stream)
    except (TypeError, LookupError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header is malformed: {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    found, expected = len(data) - stream.tell(), math.prod(shape) * dtype.itemsize
    if any(not 0 <= size <= DATA_LIMIT for size in shape) or found != expected:
        raise ValueError(f"shape {list(shape)} of {dtype} takes {expected} bytes, there are {found}")
    values = np.frombuffer(data, dtype, offset=stream.tell()) if found else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran_order else "C")


def read_npy_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the first axis varies fastest, and type; leave the stream at the values.

    Raises:
        ValueError: it is malformed, as are others that NumPy's parser lets through.
    """
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of the format is for structured types")


def read_safetensors(path: Path) -> Dataset:
    """Return the data set of a `.safetensors` file with `x`, and perhaps `y`.

    Class names, which are no numbers, are a JSON list under `classes` in the file's metadata.

    Raises:
        InvalidData: it is malformed, lacks `x`, is too large, or the arrays do not fit together.
    """
    from safetensors import SafetensorError, safe_open

    check_size(path.stat().st_size)
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            check_names(names)
            arrays = {name: file.get_tensor(name) for name in ("x", "y") if name in names}
            metadata = file.metadata() or {}
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two: a type that NumPy does not have
        raise InvalidData(f"not a readable .safetensors file: {error}") from error
    classes = parse_classes(metadata["classes"]) if "classes" in metadata else None
    return Dataset.of(arrays["x"], y=arrays.get("y"), classes=classes, name=path.stem)


def parse_classes(text: str) -> list[str]:
    """Return class names from a JSON list.

    Raises:
        InvalidData: it is no JSON list.
    """
    try:
        names = json.loads(text)
    except ValueError as error:
        raise InvalidData(f"not JSON: {error}", where="classes") from error
    if not isinstance(names, list):
        raise InvalidData("expected a JSON list of names", where="classes")
    return names


def class_names(array: Array) -> Sequence[str]:
    """Return class names from an array of text.

    Raises:
        InvalidData: it is no list of text.
    """
    if array.ndim != 1 or array.dtype.kind != "U":
        raise InvalidData(f"expected a list of names, got {array.dtype} {list(array.shape)}", where="classes")
    return [str(name) for name in array]


def check_names(names: Iterable[str]) -> None:
    """Check that a file of arrays holds `x`.

    Raises:
        InvalidData: it does not; says what it holds.
    """
    if "x" not in names:
        raise InvalidData(f"no such array; the file holds {listed(sorted(names)) or 'none'}", where="x")


def check_size(size: int) -> None:
    """Check that this many bytes may be taken into memory.

    Raises:
        InvalidData: they are too many.
    """
    if size > DATA_LIMIT:
        raise InvalidData(f"{size:,} bytes are more than the {DATA_LIMIT:,} that a data set may take")
