"""Bytes in pieces, wherever they lie."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np
import pytest

from modhub.fsops import MappedFile
from modhub.network.pages import PIECE_BYTES, pieces

DATA = np.random.default_rng(0).bytes(3 * PIECE_BYTES + 12_345)
STATUS = Path("/proc/self/status")


@pytest.fixture
def mapped(tmp_path: Path) -> memoryview:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(DATA)
    return memoryview(MappedFile(path=path, size=len(DATA), sha256="").data())


@pytest.mark.parametrize("start", [0, 1, 8, 4096, PIECE_BYTES + 3, len(DATA) - 1, len(DATA)])
def test_pieces_are_the_bytes(mapped: memoryview, start: int) -> None:
    array = np.frombuffer(mapped, dtype=np.uint8, offset=min(start, len(DATA) - 1))
    for view in (DATA[start:], mapped[start:]):
        assert b"".join(pieces(view)) == DATA[start:]
        # Pages that were given back are read again.
        assert b"".join(pieces(view)) == DATA[start:]
    assert b"".join(pieces(array.data)) == DATA[min(start, len(DATA) - 1) :]
    assert all(len(piece) <= PIECE_BYTES for piece in pieces(mapped))


def test_pieces_of_an_array_are_those_of_its_memory(mapped: memoryview) -> None:
    array = np.frombuffer(mapped, dtype="<f4", count=1000, offset=8).reshape(10, 100)
    assert b"".join(pieces(array.reshape(-1).view(np.uint8).data)) == DATA[8:4008]


@pytest.mark.skipif(
    not STATUS.exists() or not hasattr(mmap, "MADV_DONTNEED"), reason="NOT TESTED: the system does not say what is held"
)
def test_what_was_looked_at_leaves_memory(tmp_path: Path) -> None:
    path, size = tmp_path / "weights.safetensors", 64 << 20
    with path.open("wb") as file:
        file.truncate(size)

    def held() -> int:
        found = re.search(r"RssFile:\s*(\d+) kB", STATUS.read_text())
        assert found is not None
        return int(found[1]) << 10

    data = MappedFile(path=path, size=size, sha256="").data()
    before = held()
    assert max(held() for piece in pieces(data) if not any(piece[:: mmap.PAGESIZE])) - before < size // 8
    assert sum(data[:: mmap.PAGESIZE]) == 0
    assert held() - before > size // 2  # Where nobody gives pages back, they stay.
