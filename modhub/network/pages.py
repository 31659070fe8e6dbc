"""Looking at bytes that may lie in a mapped file, without keeping the file in memory."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 1 << 20
"""A multiple of every element's size."""


def pieces(data: bytes | memoryview) -> Iterator[memoryview]:
    """Yield contiguous bytes in pieces of `PIECE_BYTES`, the last one shorter.

    Those of a mapped file leave memory again once they were looked at, where the system can be told; whoever looks
    again reads them again.
    """
    view = memoryview(data).cast("B")
    file = _file_of(view)
    start = _address(view) - _address(file) if file is not None else 0
    for begin in range(0, len(view), PIECE_BYTES):
        yield view[begin : begin + PIECE_BYTES]
        if file is not None and hasattr(mmap, "MADV_DONTNEED"):
            # Pages are given back whole; that of the border is, with the next piece.
            first = (start + begin) // mmap.PAGESIZE * mmap.PAGESIZE
            file.madvise(mmap.MADV_DONTNEED, first, start + min(begin + PIECE_BYTES, len(view)) - first)


def _file_of(view: memoryview) -> mmap.mmap | None:
    """Return the mapped file that a view looks into, itself or by an array that does."""
    owner: object = view.obj
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return owner


def _address(data: memoryview | mmap.mmap) -> int:
    return int(np.frombuffer(data, dtype=np.uint8).__array_interface__["data"][0])
