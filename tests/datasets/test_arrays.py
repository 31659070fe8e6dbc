from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from modhub.datasets import Dataset, load_dataset
from modhub.datasets.arrays import DATA_LIMIT, parse_npy
from modhub.errors import InvalidData

if TYPE_CHECKING:
    from pathlib import Path

X = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
Y = np.array([0, 1, 2, 0, 1, 2])
CLASSES = ["cat", "dog", "horse"]


def npy(array: npt.NDArray[Any], *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def header(text: str) -> bytes:
    """Return an `.npy` header that says anything at all."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def problem(path: Path) -> str:
    """Return why a file is refused, without its path."""
    with pytest.raises(InvalidData) as caught:
        load_dataset(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_gives_back_what_was_saved(tmp_path: Path, compressed: bool) -> None:  # noqa: FBT001 - a parameter
    path = tmp_path / "pets.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=X, y=Y, classes=np.array(CLASSES))
    data = load_dataset(path)
    assert (data.name, data.shape, data.classes) == ("pets", (1, 2, 2), tuple(CLASSES))
    assert np.array_equal(data.values[:, 0], X)
    assert data.labels.tolist() == Y.tolist()


def test_a_safetensors_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "pets.safetensors"
    save_file({"x": X, "y": Y}, path, metadata={"classes": json.dumps(CLASSES)})
    assert load_dataset(path).sha256 == Dataset.of(X, y=Y, classes=CLASSES).sha256


def test_samples_alone_are_a_data_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X)
    save_file({"x": X}, tmp_path / "a.safetensors")
    first, second = load_dataset(tmp_path / "a.npz"), load_dataset(tmp_path / "a.safetensors")
    assert first.y is None
    assert first.sha256 == second.sha256


def test_the_real_mnist_images_are_read(data_folder: Path) -> None:
    data = load_dataset(data_folder / "mnist-test-200.npz")
    assert (len(data), data.shape, data.classes) == (200, (1, 28, 28), tuple("0123456789"))
    assert np.bincount(data.labels).tolist() == [20] * 10
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)


def test_a_file_without_x_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y)
    save_file({"images": X}, tmp_path / "a.safetensors")
    assert problem(tmp_path / "a.npz") == "x: no such array; the file holds x_train, y_train"
    assert problem(tmp_path / "a.safetensors") == "x: no such array; the file holds images"
    assert problem(write_zip(tmp_path / "b.npz", {})) == "x: no such array; the file holds none"


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.npz", {"x.npy": npy(np.array([{}, []], object), allow_pickle=True)})
    assert problem(path) == "x: not a plain array: it holds Python objects"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not an archive at all"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    (tmp_path / "a.safetensors").write_bytes(content)
    assert problem(tmp_path / "a.npz").startswith("not a readable .npz archive: ")
    assert problem(tmp_path / "a.safetensors").startswith("not a readable .safetensors file: ")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 255, (50, 8, 8), np.uint8))
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    assert problem(path).startswith("not a readable .npz archive: ")


def announce(path: Path, *, size: int) -> Path:
    """Make every member of an archive claim to be of some size."""
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 24 : at + 28] = struct.pack("<I", size)
        at = content.find(b"PK\x01\x02", at + 1)
    path.write_bytes(content)
    return path


def test_an_archive_that_announces_too_much_is_refused_unread(tmp_path: Path) -> None:
    path = announce(write_zip(tmp_path / "a.npz", {"x.npy": npy(X), "y.npy": npy(Y)}), size=2**32 - 2)
    assert problem(path) == f"8,589,934,588 bytes are more than the {DATA_LIMIT:,} that a data set may take"


@pytest.mark.parametrize("size", [0, 140])
def test_an_archive_that_announces_too_little_is_refused(tmp_path: Path, size: int) -> None:
    path = announce(write_zip(tmp_path / "a.npz", {"x.npy": npy(X)}), size=size)
    assert problem(path).startswith(("not a readable .npz archive: ", "x: not a plain array: "))


def test_an_unusual_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy(X))
    assert problem(tmp_path / "a.npz") == "x: compressed by a method that .npz files do not use"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "EOF"),
        (npy(X)[:40], "EOF"),
        (npy(X)[:-1], "shape [6, 2, 2] of uint8 takes 24 bytes, there are 23"),
        (npy(X) + b"!", "shape [6, 2, 2] of uint8 takes 24 bytes, there are 25"),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }\n"),
            "takes 1000000000000 bytes",
        ),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -1), }\n") + b"!", "shape [-1, -1]"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + b"!" * 8, "it holds Python objects"),
        (header("__import__('os')\n"), "malformed node"),
        (header("{[]: 1}\n"), "its header is malformed: unhashable type"),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 10**30)}\n".replace("10**30", "1" * 30)),
            "takes 0",
        ),
        (b"\x93NUMPY\x03\x00" + npy(X)[8:], "version (3, 0) of the format is for structured types"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"GIF89a..", "magic string"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_npy(data)


PLAIN = st.sampled_from(["u1", "<i4", ">i8", "<f2", "<f4", ">f8", "<U3"])


@given(arrays.arrays(PLAIN, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)), st.booleans())
def test_plain_arrays_come_back_as_numpy_saved_them(array: npt.NDArray[Any], fortran: bool) -> None:  # noqa: FBT001
    saved = np.asfortranarray(array) if fortran else array
    found = parse_npy(npy(saved))
    assert found.shape == saved.shape
    assert found.dtype == saved.dtype
    assert np.array_equal(found, saved, equal_nan=saved.dtype.kind == "f")


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("u14f8O<>|,()", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


@given(LITERALS, LITERALS, st.lists(st.integers(-2, 2**70), max_size=3).map(tuple) | LITERALS, st.binary(max_size=9))
def test_no_header_makes_the_reader_fail_otherwise(descr: object, order: object, shape: object, data: bytes) -> None:
    text = f"{ {'descr': descr, 'fortran_order': order, 'shape': shape} }\n"
    try:
        parse_npy(header(text) + data)
    except ValueError:
        return


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(data: bytes) -> None:
    for text in (data, npy(X)[:10] + data):
        try:
            parse_npy(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("[", "classes: not JSON: Expecting value: line 1 column 2 (char 1)"),
        ('"cat"', "classes: expected a JSON list of names"),
        ('["cat", 1, "dog"]', "classes[1]: expected a name, got 1"),
        ('["cat"]', "y[1]: label 1 stands for no class: expected 0 to 0"),
    ],
)
def test_class_names_in_metadata_are_checked(tmp_path: Path, classes: str, message: str) -> None:
    save_file({"x": X, "y": Y}, tmp_path / "a.safetensors", metadata={"classes": classes})
    assert problem(tmp_path / "a.safetensors") == message


def test_class_names_in_an_array_are_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, classes=np.arange(3))
    assert problem(tmp_path / "a.npz") == "classes: expected a list of names, got int64 [3]"


def test_a_type_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    text = json.dumps({"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    # Which one depends on whether something else has taught NumPy the type meanwhile.
    told = ("not a readable .safetensors file: ", "x: cannot use bfloat16 values")
    assert problem(tmp_path / "a.safetensors").startswith(told)
