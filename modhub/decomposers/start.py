"""Where every decomposer starts: the cut, all modules in one batch, and what does not change computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from modhub.decomposers.cut import choose_cut
from modhub.decomposers.features import features
from modhub.decomposers.module_batch import ModuleBatch
from modhub.decomposers.ties import with_streams
from modhub.engines.torch_engine import to_torch
from modhub.errors import DecomposeError
from modhub.network.sites import find_sites

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.decomposers.features import Features
    from modhub.decomposers.options import Options, Progress
    from modhub.network.network import Network
    from modhub.network.sites import Sites

COPIES = 3
"""Samples on which modules that keep everything are compared with their parent."""
ROUNDING = 0.01
"""How far apart two engines may be, relative to the largest logit; accelerators round to ten bits."""


@dataclass(frozen=True)
class Start:
    """A parent ready to be split: its sites, where its trunk ends, its modules, and both data sets behind the trunk."""

    network: Network
    sites: Sites
    cut: str
    batch: ModuleBatch
    train: Features
    validation: Features

    @property
    def parent_accuracy(self) -> float:
        """Return the parent's validation accuracy among the chosen classes, from 0 to 1."""
        return self.validation.accuracy(self.validation.logits)


def start(
    network: Network, train: Dataset, validation: Dataset, *, options: Options, flip: bool, progress: Progress
) -> Start:
    """Return the start that the options describe, and tell about the trunk and the parent's accuracy.

    Raises:
        DecomposeError: the cut is impossible, nothing behind it can be masked, or modules that keep everything would
            not score what their parent does.
        UsageError: mirror images are asked for of what is no image.
    """
    sites = find_sites(network)
    cut, maskable = choose_cut(network, sites, options.cut)
    made = maskable  # Kernels are what layers make; a stream behind a bare shortcut has channels alone.
    if options.tied:
        maskable = with_streams(sites, maskable, behind=sites.after(network, cut))
    rows = options.classes or tuple(range(int(network.output_shape[-1])))
    batch = ModuleBatch(
        to_torch(network), network=network, sites=sites, cut=cut, rows=rows, maskable=maskable, tied=options.tied
    )
    progress({"step": "trunk", "cut": cut, "sites": len(made), "kernels": sum(site.size for site in made)})
    found = Start(
        network=network,
        sites=sites,
        cut=cut,
        batch=batch.to(options.device),
        train=features(network, train, cut=cut, rows=rows, flip=flip),
        validation=features(network, validation, cut=cut, rows=rows, flip=False),
    )
    check_copies(found.batch, found.train)
    progress({"step": "parent", "accuracy": found.parent_accuracy})
    return found


@torch.no_grad()
def check_copies(batch: ModuleBatch, some: Features) -> None:
    """Check that modules that keep everything score what ONNX Runtime computes for the parent.

    Every network is learned on in another engine than it runs in, and in a batch that holds all modules.

    Raises:
        DecomposeError: the scores differ by more than rounding explains.
    """
    logits = some.logits[:COPIES]
    scores = batch(some.x[:COPIES].to(batch.latents.device), torch.ones_like(batch.latents)).cpu()
    apart = float((scores - logits).abs().max())
    if not apart <= ROUNDING * max(1.0, float(logits.abs().max())):
        raise DecomposeError(f"torch computes other scores than ONNX Runtime: they differ by up to {apart:.2g}")
