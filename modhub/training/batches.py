"""Batches for training: which samples, in which order, cropped and mirrored how.

Every choice follows from the seed, the epoch and the step alone, never from what was drawn before, so a resumed run
goes on exactly as it would have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.datasets import Dataset

ORDER, SHIFTS = 1, 2
"""Streams of random numbers, so that none repeats another."""


@dataclass(frozen=True, eq=False)
class Batches:
    """A data set on its way into training.

    Images are held as bytes where they came as bytes. Each of `world` processes takes every `world`-th sample of a
    batch, so the steps are the same for any number of processes.
    """

    values: torch.Tensor
    labels: torch.Tensor
    size: int
    flip: bool
    crop: int
    seed: int
    rank: int = 0
    world: int = 1

    @classmethod
    def of(  # noqa: D102
        cls, data: Dataset, *, size: int, flip: bool, crop: int, seed: int, rank: int, world: int, device: torch.device
    ) -> Batches:
        return cls(
            values=torch.from_numpy(np.ascontiguousarray(data.values)).to(device),
            labels=torch.from_numpy(np.ascontiguousarray(data.labels)).to(device),
            size=min(size, len(data)),
            flip=flip,
            crop=crop,
            seed=seed,
            rank=rank,
            world=world,
        )

    @property
    def steps(self) -> int:
        """Number of batches per epoch; the last one may be smaller."""
        return -(-len(self.labels) // self.size)

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this process's part of every batch of an epoch."""
        order = np.random.default_rng((self.seed, ORDER, number)).permutation(len(self.labels))
        for step, first in enumerate(range(0, len(order), self.size)):
            # A last batch smaller than the number of processes would leave one without a sample.
            whole = order[first : first + self.size]
            if len(whole) < self.world:
                whole = np.resize(whole, self.world)
            random = np.random.default_rng((self.seed, SHIFTS, number, step))
            mirrored = random.random(len(whole)) < 0.5
            shifts = random.integers(0, 2 * self.crop + 1, size=(len(whole), 2))
            mine = slice(self.rank, None, self.world)
            yield self._batch(whole[mine], mirrored[mine], shifts[mine])

    def _batch(self, chosen: np.ndarray, mirrored: np.ndarray, shifts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.from_numpy(chosen).to(self.values.device)
        x, y = as_taken(self.values[index]), self.labels[index]
        if self.crop:
            x = cropped(x, torch.from_numpy(shifts).to(x.device), padding=self.crop)
        if self.flip:
            which = torch.from_numpy(mirrored).to(x.device)
            x = torch.where(which.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
        return (x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x), y

    def parts(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this process's share of the data in order, untouched, for measuring."""
        mine = torch.arange(self.rank, len(self.labels), self.world, device=self.values.device)
        for index in torch.split(mine, self.size):
            yield as_taken(self.values[index]), self.labels[index]


def as_taken(values: torch.Tensor) -> torch.Tensor:
    """Return values as a network takes them: bytes as float32 in [0, 1], anything else as it is."""
    return values.float() / 255 if values.dtype == torch.uint8 else values


def cropped(images: torch.Tensor, shifts: torch.Tensor, *, padding: int) -> torch.Tensor:
    """Return images padded with zeros on each side and cropped to their size, each at its own place.

    Args:
        images: ``[n, channels, height, width]``.
        shifts: the upper left corner of each crop in the padded image, ``[n, 2]``.
        padding: pixels of padding on each side.
    """
    count, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    rows = shifts[:, :1] + torch.arange(height, device=images.device)
    columns = shifts[:, 1:] + torch.arange(width, device=images.device)
    flat = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).reshape(count, 1, -1)
    taken = padded.flatten(2).gather(2, flat.expand(-1, channels, -1))
    return taken.reshape(images.shape)
