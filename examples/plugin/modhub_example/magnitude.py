"""A decomposer that looks at weights alone: the kernels with the largest weights stay, the same ones for every class.

It is the simplest pruning there is, and shows what a decomposer has to do: choose channels, measure, return a
`Decomposition`. All classes share one mask, so nothing about it is modular, which makes it a baseline to be beaten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.alignment import aligned_masks
from modhub.decomposers.outcome import calibrated_accuracy, choose, class_modules, provenance
from modhub.decomposers.saliency import composed_scores
from modhub.decomposers.start import start
from modhub.network.modules import Decomposition
from modhub.spec.manifest import Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.module_batch import ModuleBatch
    from modhub.decomposers.options import Options, Progress
    from modhub.network.modules import Affine, Channels
    from modhub.network.network import Network

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True)
class Level:
    """Modules that keep a share of the channels, and how well they compose on validation data."""

    share: float
    accuracy: float
    kept: list[dict[str, Channels]]
    scores: npt.NDArray[np.float32]


def magnitude(
    network: Network, train: Dataset, validation: Dataset, *, options: Options, progress: Progress
) -> Decomposition:
    """Return the classes of a network as modules that keep the heaviest channels.

    Raises:
        DecomposeError: nothing can be masked.
    """
    begun = start(network, train.take(8), validation, options=options, flip=False, progress=progress)
    batch = begun.batch
    none: list[Mapping[str, Affine]] = [{} for _ in batch.rows]
    batch.latents.copy_(torch.from_numpy(norms(batch)))
    levels: list[Level] = []
    for share in [*(level for level in SHARES if level > options.keep), options.keep]:
        masks = aligned_masks(batch.masks(batch.count(share)), batch, multiple=options.align)
        kept = [batch.sites.settle(own) for own in batch.kept_channels(masks)]
        scores = composed_scores(batch, kept, none, begun.validation)
        levels.append(Level(float(masks.mean()), calibrated_accuracy(scores, begun.validation), kept, scores))
        progress({"step": "level", "kept": levels[-1].share, "accuracy": levels[-1].accuracy})
        if 100 * (begun.parent_accuracy - levels[-1].accuracy) > options.max_loss:
            break
    chosen = choose(levels, max_loss=options.max_loss, parent=begun.parent_accuracy)
    modules = class_modules(
        chosen.scores,
        network=network,
        rows=batch.rows.tolist(),
        classes=train.classes,
        kept=chosen.kept,
        affine=none,
        validation=begun.validation,
        data=validation.name,
    )
    return Decomposition(
        parent=network,
        sites=begun.sites,
        cut=begun.cut,
        modules=modules,
        method=Method(name="magnitude", version="0.1", parameters={"keep": options.keep}, seed=options.seed),
        history=tuple({"step": "level", "kept": level.share, "accuracy": level.accuracy} for level in levels),
        **provenance(train, begun.validation),
    )


def norms(batch: ModuleBatch) -> npt.NDArray[np.float32]:
    """Return the weight of each channel in its layer, 1 on average, for every module: ``[modules, channels]``."""
    sums = []
    for site in batch.maskable:
        layers = [batch.network.arrays[layer] for layer in site.layers]
        heavy = [np.abs(array).reshape(len(array), -1).sum(axis=1) for array in layers if len(array) == site.size]
        total = np.mean([own / own.mean() for own in heavy], axis=0) if heavy else np.ones(site.size)
        sums.append(total)
    return np.tile(np.concatenate(sums).astype(np.float32), (batch.modules_count, 1))
