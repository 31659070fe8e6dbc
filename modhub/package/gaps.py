"""A few set flags among many, as the gaps between them.

A gap is how many cleared flags come before a set one, after the last set one. It is written in base 128, lowest digits
first, each byte with its highest bit set but the last (LEB128). One flag in a hundred so takes a byte, where packed
bits take twelve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.errors import FormatError

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Flags = npt.NDArray[np.bool_]

DIGIT = 7
"""Bits of a gap in one byte."""

LONGEST = 5
"""Bytes of one gap: those of an array of 2^35 elements."""


def to_gaps(flags: Flags) -> Bytes:
    """Return flat flags as gaps, `uint8`; there is one way to write them.

    >>> to_gaps(np.array([False, True, True, False])).tolist()
    [1, 0]
    """
    gaps = np.diff(np.flatnonzero(flags), prepend=-1) - 1
    shifts = DIGIT * np.arange(LONGEST)
    digits = (gaps[:, None] >> shifts) & 0x7F
    length = 1 + (gaps[:, None] >> shifts[1:] > 0).sum(axis=1)
    place = np.arange(LONGEST)
    digits[place[None, :] < length[:, None] - 1] |= 0x80
    return np.asarray(digits[place[None, :] < length[:, None]], dtype=np.uint8)


def from_gaps(data: npt.NDArray[Any], *, size: int) -> Flags:
    """Return the `size` flags that `to_gaps` wrote.

    Raises:
        FormatError: a gap is cut off, is written longer than it must be, or leads behind the last flag.
    """
    flags = np.zeros(size, dtype=np.bool_)
    if not len(data):
        return flags
    ends = np.flatnonzero(data < 0x80)
    if not len(ends) or ends[-1] != len(data) - 1:
        raise FormatError("ends in the middle of a gap")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > LONGEST or ((lengths > 1) & (data[ends] == 0)).any():
        raise FormatError("holds a gap that is longer than it must be")
    place = np.arange(len(data)) - np.repeat(starts, lengths)
    gaps = np.add.reduceat((data.astype(np.int64) & 0x7F) << (DIGIT * place), starts)
    places = np.cumsum(gaps + 1) - 1
    if places[-1] >= size:
        raise FormatError(f"sets the flag {places[-1]} of {size}")
    flags[places] = True
    return flags
