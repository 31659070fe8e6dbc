"""Widths in multiples: runtimes compute in blocks of channels, so odd widths cost as much as the next block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.decomposers.module_batch import ModuleBatch
    from modhub.network.sites import Site, Sites

    Flags = npt.NDArray[np.bool_]


def aligned_masks(masks: torch.Tensor, batch: ModuleBatch, *, multiple: int) -> torch.Tensor:
    """Return the masks with each site's kept channels at the nearest multiple, and at least one multiple.

    Channels are added and dropped as they rank. A branch keeps only channels that land on kept channels of its
    stream, because others are dropped when the module is cut out. A site of fewer channels stays whole.

    Args:
        masks: 0 or 1, ``[modules, width]``.
        batch: the modules.
        multiple: of which the widths will be.
    """
    sites, starts = batch.sites, column_starts(batch)
    result = np.zeros(masks.shape, dtype=np.bool_)
    asked = masks.detach().cpu().numpy() > 0.5
    order_by = batch.ranking.detach().cpu().numpy() + 1e6 * asked
    flags = np.ones((len(asked), sites.channel_count), dtype=np.bool_)
    for site in streams_first(sites, batch.maskable):
        own, first = slice(starts[site.id], starts[site.id] + site.size), sites.offsets[site.id]
        useful = landing(sites, flags)[:, first : first + site.size]
        available = useful.sum(axis=1)
        count = np.round((asked[:, own] & useful).sum(axis=1) / multiple).clip(1) * multiple
        whole = np.where(available < site.size, available // multiple * multiple, available)
        count = np.minimum(count, np.where(whole > 0, whole, available)).clip(1)
        rank = np.where(useful, -order_by[:, own], np.inf).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        result[:, own] = rank < count[:, None]
        flags[:, first : first + site.size] = result[:, own]
    return torch.from_numpy(result).to(masks)


def column_starts(batch: ModuleBatch) -> dict[str, int]:
    """Map the maskable sites to the first of their columns in the masks."""
    starts = np.cumsum([0, *(site.size for site in batch.maskable)]).tolist()
    return {site.id: start for site, start in zip(batch.maskable, starts, strict=False)}


def streams_first(sites: Sites, maskable: tuple[Site, ...]) -> list[Site]:
    """Return the sites in an order in which a stream comes before its branches."""
    number = np.repeat(np.arange(len(sites.sites)), [site.size for site in sites.sites])
    streams: dict[int, set[int]] = {}
    for branch in sites.branches:
        if branch.stream is not None:
            for own in np.unique(number[branch.channels]).tolist():
                streams.setdefault(own, set()).update(set(np.unique(number[branch.stream]).tolist()) - {own})
    index = {site.id: i for i, site in enumerate(sites.sites)}
    pending = {index[site.id]: site for site in maskable}
    ordered = []
    while pending:
        free = (i for i in pending if streams.get(i, set()).isdisjoint(pending))
        ordered.append(pending.pop(next(free, next(iter(pending)))))
    return ordered


def landing(sites: Sites, flags: Flags) -> Flags:
    """Return whether each channel is read, or lands on a kept channel of each stream it is added to.

    Args:
        sites: the network's sites.
        flags: for each module and channel whether it is kept, ``[modules, channels]``.
    """
    needed = (sites.readings > 1) | sites.fixed
    useful = np.ones_like(flags)
    for branch in sites.branches:
        if branch.stream is not None:
            lands = np.zeros(flags.shape[::-1], dtype=np.bool_)
            np.logical_or.at(lands, branch.channels, flags[:, branch.stream].T)
            useful[:, branch.channels] &= (lands.T | needed)[:, branch.channels]
    return useful
