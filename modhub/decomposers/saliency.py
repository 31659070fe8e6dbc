"""One-shot masks by first-order saliency: seconds, no training, no labels.

None of the published systems has it. It is the baseline that every other method must beat, and where their fast recipes
start. The importance of a channel for a class is the mean squared first-order change of that class's logit when the
channel goes (Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019). What is taken away is
replaced by its mean, folded into the bias of the layer that reads it, where validation says that this is better than
zero: for a fully connected reader it is the mean exactly, for a convolution up to its border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.alignment import aligned_masks
from modhub.decomposers.options import Options, silent
from modhub.decomposers.outcome import calibrated_accuracy, choose, class_modules, provenance
from modhub.decomposers.start import start
from modhub.engines.torch_engine import to_torch
from modhub.network.modules import Affine, ClassModule, Decomposition, affine_layers
from modhub.network.slice import sliced
from modhub.network.trunk import computed_from
from modhub.spec.manifest import Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.features import Features
    from modhub.decomposers.module_batch import ModuleBatch
    from modhub.decomposers.options import Progress
    from modhub.engines.torch_engine import TorchNetwork
    from modhub.network.modules import Channels
    from modhub.network.network import Network
    from modhub.network.sites import Sites

NAME = "saliency"
PAPER = "arXiv:1906.10771"
SAMPLES = 1000
"""Samples that importance and means are taken from; more changed no mask on CIFAR-10."""
LADDER = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
BATCH = 64


@dataclass(frozen=True)
class Rung:
    """One level of retention: the masks, what stands in for the rest, and how well the modules compose."""

    share: float
    accuracy: float
    replaced: bool
    kept: list[dict[str, Channels]]
    affine: list[Mapping[str, Affine]]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ReaderMean:
    """A layer behind the cut that reads channels, and the mean of what it reads, per position of its channel axis."""

    layer: str
    channels: Channels
    mean: npt.NDArray[np.float64]


def saliency(
    network: Network,
    train: Dataset,
    validation: Dataset,
    *,
    options: Options | None = None,
    progress: Progress = silent,
) -> Decomposition:
    """Return the classes of a network as modules, masked in one pass.

    Args:
        network: the parent, in normal form.
        train: inputs to take importance and means from; labels are not used.
        validation: held-out inputs with labels, for choosing how much to keep and calibrating.
        options: what to aim for; `recipe`, `steps` and `flip` have no effect.
        progress: called after every level of retention.

    Raises:
        DecomposeError: nothing can be masked.
    """
    options = options or Options()
    some = train.take(SAMPLES)
    begun = start(network, some, validation, options=options, flip=False, progress=progress)
    batch, held_out = begun.batch, begun.validation
    x = begun.train.x.to(options.device)
    batch.start_from_saliency(x, batch=BATCH)
    means = reader_means(batch.net, network, begun.sites, cut=batch.cut, x=x)
    rungs = climb(batch, means, held_out, options=options, parent=begun.parent_accuracy, progress=progress)
    chosen = choose(rungs, max_loss=options.max_loss, parent=begun.parent_accuracy)
    modules = class_modules(
        chosen.scores,
        network=network,
        rows=batch.rows.tolist(),
        classes=train.classes,
        kept=chosen.kept,
        affine=chosen.affine,
        validation=held_out,
        data=validation.name,
    )
    return Decomposition(
        parent=network,
        sites=begun.sites,
        cut=begun.cut,
        modules=modules,
        method=Method(
            name=NAME,
            version="1",
            paper=PAPER,
            parameters={"keep": options.keep, "max_loss": options.max_loss, "mean": chosen.replaced},
            seed=options.seed,
        ),
        history=tuple({"step": "rung", "kept": r.share, "accuracy": r.accuracy, "mean": r.replaced} for r in rungs),
        **provenance(some, held_out),
    )


def climb(
    batch: ModuleBatch,
    means: list[ReaderMean],
    held_out: Features,
    *,
    options: Options,
    parent: float,
    progress: Progress,
) -> list[Rung]:
    """Return a rung per level of retention, each with zeros or means, whichever composes better."""
    rungs: list[Rung] = []
    for share in [*(level for level in LADDER if level > options.keep), options.keep]:
        masks = aligned_masks(batch.masks(batch.count(share)), batch, multiple=options.align)
        kept = [batch.sites.settle(own) for own in batch.kept_channels(masks)]
        with_means: list[Mapping[str, Affine]] = [mean_offsets(batch.network, batch.sites, own, means) for own in kept]
        zeros: list[Mapping[str, Affine]] = [{} for _ in kept]
        found = [
            Rung(float(masks.mean()), calibrated_accuracy(scores, held_out), bool(replaced), kept, affine, scores)
            for replaced, affine in enumerate((zeros, with_means))
            for scores in [composed_scores(batch, kept, affine, held_out)]
        ]
        rungs.append(max(found, key=lambda rung: rung.accuracy))
        progress({"step": "rung", "kept": rungs[-1].share, "accuracy": rungs[-1].accuracy})
        if 100 * (parent - rungs[-1].accuracy) > options.max_loss:
            break
    return rungs


@torch.no_grad()
def reader_means(net: TorchNetwork, network: Network, sites: Sites, *, cut: str, x: torch.Tensor) -> list[ReaderMean]:
    """Return the mean of what each convolution and fully connected layer behind the cut reads."""
    scalable = affine_layers(network)
    nodes = {node.outputs[0]: node for node in network.nodes}
    readers = [
        reader
        for reader in sites.readers
        if nodes[reader.node].op in ("Conv", "Gemm") and nodes[reader.node].inputs[1] in scalable
    ]
    wanted = {nodes[reader.node].inputs[0] for reader in readers}
    behind = computed_from(network, cut)
    totals: dict[str, torch.Tensor] = {}
    counts = dict.fromkeys(wanted, 0)
    for part in torch.split(x, BATCH):
        values = net.evaluate({cut: part}, wanted=sorted(wanted & behind))
        for name, value in values.items():
            spatial = tuple(range(2, value.ndim))
            mean = value.double().mean(dim=spatial) if spatial else value.double()
            totals[name] = totals.get(name, torch.zeros_like(mean[0])) + mean.sum(dim=0)
            counts[name] += len(mean)
    return [
        ReaderMean(nodes[reader.node].inputs[1], reader.channels, (totals[name] / counts[name]).cpu().numpy())
        for reader in readers
        for name in [nodes[reader.node].inputs[0]]
        if name in totals
    ]


def mean_offsets(
    network: Network, sites: Sites, kept: Mapping[str, Channels], means: list[ReaderMean]
) -> dict[str, Affine]:
    """Return per layer the offset that stands in for the mean of the channels it no longer reads."""
    flags = sites.flags(dict(kept))
    affine = {}
    for reader in means:
        dropped = ~flags[reader.channels]
        if dropped.any():
            weight = network.arrays[reader.layer].astype(np.float64)
            columns = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
            offset = (columns[:, dropped] @ reader.mean[dropped]).astype(np.float32)
            affine[reader.layer] = Affine(scale=np.ones_like(offset), offset=offset)
    return affine


def composed_scores(
    batch: ModuleBatch,
    kept: list[dict[str, Channels]],
    affine: list[Mapping[str, Affine]],
    held_out: Features,
) -> npt.NDArray[np.float32]:
    """Return the raw scores of modules on features, ``[n, modules]``, each cut out and run from the trunk's end."""
    columns = []
    for i, row in enumerate(batch.rows.tolist()):
        module = ClassModule(label=str(row), row=row, kept=kept[i], affine=affine[i])
        net = to_torch(sliced(batch.network, batch.sites, module))
        with torch.no_grad():
            parts = [net.run({batch.cut: part}) for part in torch.split(held_out.x, 256)]
        columns.append(torch.cat(parts)[:, 0].numpy())
    return np.stack(columns, axis=1)
