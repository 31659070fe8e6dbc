"""Many candidate modules at once: their masks, and their own logits on validation data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.plain_batch import PlainBatch, never_empty
from modhub.decomposers.ties import tied_columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.decomposers.start import Start

    Bits = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

COPIES = 40
"""Modules that are evaluated in one batch."""
BATCH = 64
"""Samples that are evaluated in one batch."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What evaluates candidates for every class of a parent.

    Args:
        begun: the parent.
        plain: as many copies of all classes as fit in a batch.
        tied: the free choice behind each column of a mask.
        free: the first column of each free choice.
        of_site: the free choices that begin in each maskable site; none where it follows another site.
        x: validation data of the chosen classes.
        columns: each sample's class.
    """

    begun: Start
    plain: PlainBatch
    tied: torch.Tensor
    free: Integers
    of_site: tuple[tuple[int, ...], ...]
    x: torch.Tensor
    columns: Integers

    @classmethod
    def of(cls, begun: Start) -> Candidates:
        """Return what evaluates candidates."""
        rows = begun.batch.rows.tolist()
        tied, _ = tied_columns(begun.sites, begun.batch.maskable)
        _, free = np.unique(tied.numpy(), return_index=True)
        ends = np.cumsum([site.size for site in begun.batch.maskable])
        owner = np.searchsorted(ends, free, side="right")
        inside = np.flatnonzero(begun.validation.columns >= 0)
        return cls(
            begun=begun,
            plain=PlainBatch(begun, rows * max(1, COPIES // len(rows))),
            tied=tied,
            free=free,
            of_site=tuple(tuple(np.flatnonzero(owner == i).tolist()) for i in range(len(ends))),
            x=begun.validation.x[inside],
            columns=begun.validation.columns[inside],
        )

    @property
    def layers(self) -> list[Integers]:
        """Return the free choices of each layer that has any."""
        return [np.array(choices, dtype=np.int64) for choices in self.of_site if choices]

    def masks(self, chosen: Bits) -> torch.Tensor:
        """Return the masks for free choices ``[classes, p, free]``, ``[classes, p, width]``, with no empty site."""
        whole = torch.from_numpy(chosen)[..., self.tied].to(torch.float32)
        return never_empty(whole.flatten(0, 1), self.begun.batch.maskable).reshape(whole.shape)

    def logits(self, masks: torch.Tensor) -> torch.Tensor:
        """Return the own logits of modules ``[classes, p, width]`` on the validation data, ``[classes, p, n]``."""
        return self.all_logits(self.x, masks)

    @torch.no_grad()
    def all_logits(self, x: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the own logits of modules ``[classes, p, width]`` on some data, ``[classes, p, n]``."""
        classes, count, width = masks.shape
        device = self.begun.batch.latents.device
        copies = len(self.plain.rows) // classes
        results = []
        for part in torch.split(masks, copies, dim=1):
            # The last part is filled up with copies of its last module.
            short = copies - part.shape[1]
            full = torch.cat([part, part[:, -1:].expand(-1, short, -1)], dim=1)
            own = full.transpose(0, 1).reshape(-1, width).to(device)
            found = torch.cat([self.plain.own(some.to(device), own).cpu() for some in torch.split(x, BATCH)])
            results.append(found.T.reshape(copies, classes, -1).transpose(0, 1)[:, : part.shape[1]])
        return torch.cat(results, dim=1).reshape(classes, count, -1)
