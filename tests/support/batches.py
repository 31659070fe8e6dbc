"""All modules of a network in one batch, drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from modhub.decomposers.module_batch import ModuleBatch
from modhub.engines.torch_engine import to_torch
from modhub.network.sites import find_sites

if TYPE_CHECKING:
    from modhub.network.network import Network
    from modhub.network.sites import Site


def maskable_sites(network: Network) -> tuple[Site, ...]:
    """Return the sites that masks can act on."""
    return tuple(site for site in find_sites(network).after(network, "") if site.layers)


def batch_of(network: Network, *, seed: int) -> ModuleBatch:
    """Return all modules of a network, with latents, scales and offsets drawn at random."""
    rows = tuple(range(int(network.output_shape[-1])))
    batch = ModuleBatch(
        to_torch(network),
        network=network,
        sites=find_sites(network),
        cut="",
        rows=rows,
        maskable=maskable_sites(network),
    )
    random = torch.Generator().manual_seed(seed)
    batch.latents.copy_(torch.rand(batch.latents.shape, generator=random))
    for parameter in (*batch.scales, *batch.offsets):
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=random)
    return batch
