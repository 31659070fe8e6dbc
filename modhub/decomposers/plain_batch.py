"""Class modules as the papers have them: masks and nothing else, and all of the masked parent's logits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from modhub.decomposers.module_batch import ModuleBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import torch

    from modhub.decomposers.start import Start
    from modhub.network.sites import Site

    Channels = npt.NDArray[Any]


class PlainBatch:
    """Several masked copies of a parent in one forward pass, without scales and offsets.

    Args:
        begun: the parent.
        rows: the parent's logit that each copy scores; one may come several times.
    """

    def __init__(self, begun: Start, rows: Sequence[int]) -> None:
        # A site without layers has nothing that could be scaled, so no time goes into scaling by one.
        bare = tuple(dataclasses.replace(site, layers=()) for site in begun.batch.maskable)
        self.net = begun.batch.net
        self.batch = ModuleBatch(
            self.net, network=begun.network, sites=begun.sites, cut=begun.cut, rows=rows, maskable=bare
        ).to(begun.batch.latents.device)
        self.batch.requires_grad_(requires_grad=False)
        self.rows = tuple(rows)
        self.width = self.batch.width
        self._caught: torch.Tensor | None = None
        last = begun.network.producers()[begun.network.output]
        getattr(self.net, f"n{last}").register_forward_hook(self._catch)

    def own(self, features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return each copy's own logit, ``[batch, copies]``, for masks ``[copies, width]``."""
        scores: torch.Tensor = self.batch(features, masks)
        self._caught = None
        return scores

    def logits(self, features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return all logits of each copy, ``[copies, batch, classes]``, for masks ``[copies, width]``."""
        self.batch(features, masks)
        caught, self._caught = self._caught, None
        if caught is None:
            raise AssertionError("the parent's output was not computed")
        return caught.reshape(len(self.rows), len(features), -1)

    def _catch(self, module: torch.nn.Module, operands: Any, results: tuple[torch.Tensor, ...]) -> None:
        del module, operands
        self._caught = results[0]


def never_empty(masks: torch.Tensor, maskable: Sequence[Site]) -> torch.Tensor:
    """Return masks ``[copies, width]`` in which a site that would be empty keeps its first kernel, as in the papers.

    That changes what the module computes, so accuracies are taken with these masks, not the ones that were searched.
    """
    masks = masks.clone()
    start = 0
    for site in maskable:
        empty = masks[:, start : start + site.size].sum(dim=1) == 0
        masks[empty, start] = 1.0
        start += site.size
    return masks
