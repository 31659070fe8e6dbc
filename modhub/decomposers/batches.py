"""In which order training rows come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def batches(count: int, size: int, *, steps: int, seed: tuple[int, ...]) -> Iterator[torch.Tensor]:
    """Yield the rows of as many batches as there are steps; each row comes once before any comes again.

    Rows that do not fill a batch at the end of a round are left out of that round.

    Args:
        count: rows there are.
        size: rows of a batch; all of them where there are fewer.
        steps: batches to yield.
        seed: of the order, to which the number of the round is added.
    """
    size = min(size, count)
    given = 0
    for epoch in range(steps):
        order = torch.from_numpy(np.random.default_rng((*seed, epoch)).permutation(count))
        for first in range(0, count - size + 1, size):
            if given == steps:
                return
            given += 1
            yield order[first : first + size]
