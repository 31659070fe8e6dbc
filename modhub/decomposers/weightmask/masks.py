"""Scores to masks, and what several masks have in common.

Shapes: N modules, one score per module and weight, ``[N, *shape of the array]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

Masks: TypeAlias = "list[torch.Tensor]"
"""Booleans ``[N, *shape]``, one tensor per masked array."""


def kept_count(size: int, density: float) -> int:
    """Return how many of an array's weights a mask of that density keeps, at least one."""
    return max(1, min(size, round(density * size)))


def highest(scores: torch.Tensor, density: float) -> torch.Tensor:
    """Return the masks of one array: each module's weights with the highest scores, exactly as many as asked."""
    flat = scores.flatten(1)
    count = kept_count(flat.shape[1], density)
    if count == flat.shape[1]:
        return torch.ones_like(scores, dtype=torch.bool)
    chosen = flat.topk(count, dim=1, sorted=False).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, value=True).reshape(scores.shape)


def union(masks: Masks, members: torch.Tensor | None = None) -> Masks:
    """Return the union of some modules' masks, by default of all, without the axis of modules."""
    return [(own if members is None else own[members]).any(dim=0) for own in masks]


def density(masks: Sequence[torch.Tensor]) -> float:
    """Return the share of all flags that are set."""
    return sum(int(own.sum()) for own in masks) / max(1, sum(own.numel() for own in masks))


def consensus(masks: Masks) -> Masks:
    """Return the weights that at least half of the modules keep, without the axis of modules."""
    return [2 * own.sum(dim=0) >= own.shape[0] for own in masks]


def deviation(masks: Masks) -> float:
    """Return the share of all flags that differ from the consensus."""
    return density([own ^ common for own, common in zip(masks, consensus(masks), strict=True)])


def overlap(masks: Masks) -> torch.Tensor:
    """Return the Jaccard index of each pair of modules, ``[N, N]``: weights both keep over those that either keeps."""
    flat = torch.cat([own.flatten(1) for own in masks], dim=1).to(torch.float32)
    both = flat @ flat.T
    counts = flat.sum(dim=1)
    return both / (counts[:, None] + counts[None, :] - both).clamp_min(1)


def mean_overlap(masks: Masks) -> float:
    """Return the mean Jaccard index over pairs of different modules; 1 for a single module."""
    table = overlap(masks).cpu().numpy()
    pairs = table[np.triu_indices(len(table), k=1)]
    return float(pairs.mean()) if len(pairs) else 1.0
