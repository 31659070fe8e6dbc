"""Rows F1, F2, F4: what class modules of a ResNet-20 are worth, beside random masks at equal retention."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.data import cifar10, resnet20
from modhub.composer.join import join
from modhub.decomposers.gradsplitter.distillation import Recipe
from modhub.decomposers.gradsplitter.fast import Snapshot, Trainer
from modhub.decomposers.module_batch import ModuleBatch
from modhub.decomposers.options import Options, silent
from modhub.engines.runtime import Session
from modhub.engines.torch_engine import to_torch
from modhub.network.slice import sliced

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition

SHARES = (0.7, 0.5, 0.35)
TASKS = 30
"""Random class sets per size."""


def measure(*, full: bool) -> dict[str, Any]:
    """Return accuracies of composed modules per retention: learned masks, and two kinds of random masks."""
    network, test = resnet20(), cifar10("test")
    train, validation = cifar10("train").split(0.1 if full else 0.2)
    recipe = Recipe(steps=600 if full else 120, rungs=SHARES)
    options = Options(flip=True, align=8)
    trainer = Trainer.prepare(network, train, validation, options=options, recipe=recipe, progress=silent)
    trainer.begin()
    parent = Session(network).run(test.x)
    rows = []
    before, started = 1.0, time.process_time()
    for number, share in enumerate(SHARES if full else SHARES[:2], start=1):
        snapshot = trainer.climb(number, before, share)
        learned = composed(trainer, snapshot, train, validation)
        rows.append(
            {
                "kept": snapshot.share,
                "seconds_cpu": round(time.process_time() - started, 1),
                "learned": accuracies(scores_of(learned, test), parent, test),
                "random masks": accuracies(scores_of(randomised(learned), test), parent, test),
                "random masks, trained scales": accuracies(
                    random_control(trainer, share, train, validation, test), parent, test
                ),
            }
        )
        before = share
    return {
        "network": "ResNet-20, CIFAR-10, masks on the last stage, trunk shared",
        "train": len(train),
        "test": len(test),
        "parent": accuracies(parent, parent, test),
        "rows": rows,
    }


def composed(trainer: Trainer, snapshot: Snapshot, train: Dataset, validation: Dataset) -> Decomposition:
    """Return the decomposition that a snapshot stands for."""
    return trainer.finish(snapshot, [snapshot], train=train, validation=validation)


def scores_of(split: Decomposition, data: Dataset) -> npt.NDArray[np.float32]:
    """Return the scores of all modules of a decomposition, composed."""
    parts = [(f"m{i}", sliced(split.parent, split.sites, module)) for i, module in enumerate(split.modules)]
    return Session(join(parts)).run(data.x)


def randomised(split: Decomposition) -> Decomposition:
    """Return a decomposition with as many channels per site, drawn at random, and no scales."""
    random = np.random.default_rng(0)
    modules = [
        dataclasses.replace(
            module,
            affine={},
            kept={
                site: np.sort(random.choice(split.sites[site].size, len(kept), replace=False))
                for site, kept in module.kept.items()
            },
        )
        for module in split.modules
    ]
    return dataclasses.replace(split, modules=tuple(modules))


def random_control(
    trainer: Trainer, share: float, train: Dataset, validation: Dataset, test: Dataset
) -> npt.NDArray[np.float32]:
    """Return the scores of modules whose masks are random but whose scales and offsets are trained just as long."""
    begun = trainer.begun
    batch = ModuleBatch(
        to_torch(begun.network),
        network=begun.network,
        sites=begun.sites,
        cut=begun.cut,
        rows=begun.batch.rows.tolist(),
        maskable=begun.batch.maskable,
    )
    recipe = dataclasses.replace(trainer.recipe, memory=1.0)
    control = dataclasses.replace(trainer, begun=dataclasses.replace(begun, batch=batch), recipe=recipe)
    control.batch.latents.copy_(torch.rand(control.batch.latents.shape, generator=torch.Generator().manual_seed(0)))
    return scores_of(composed(control, control.climb(1, share, share), train, validation), test)


def accuracies(scores: npt.NDArray[np.float32], parent: npt.NDArray[np.float32], test: Dataset) -> dict[str, float]:
    """Return accuracy on all classes, and the mean over random sets of 2, 3 and 5, each beside the parent's loss."""
    labels, random = test.labels, np.random.default_rng(0)
    result = {"10": float((scores.argmax(axis=1) == labels).mean())}
    for size in (2, 3, 5):
        own = []
        for _ in range(TASKS):
            classes = np.sort(random.choice(scores.shape[1], size, replace=False))
            inside = np.isin(labels, classes)
            own.append(float((classes[scores[inside][:, classes].argmax(axis=1)] == labels[inside]).mean()))
        result[str(size)] = float(np.mean(own))
    result["agrees with parent"] = float((scores.argmax(axis=1) == parent.argmax(axis=1)).mean())
    return {name: round(value, 4) for name, value in result.items()}
