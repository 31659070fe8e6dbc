"""A more accurate model from the best modules of several biased parents (GradSplitter's Dirichlet setting).

Parents see unequal shares of the classes, as in the paper: p drawn from a Dirichlet distribution, divided by its
maximum, and that share of each class kept. Each is split, the collections are published side by side, and the resolver
takes for every class the module with the best F1 on validation data that all parents have in common. Reduced: small
networks on 6,000 images of CIFAR-10 and Fashion-MNIST from ``MODHUB_BENCH_DATA`` in place of SimCNN on 40,000; the
quick form has three parents in place of ten.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from modhub import flow
from modhub.datasets import load_dataset
from modhub.decomposers.options import Options
from modhub.engines.runtime import Session
from modhub.package.pack import Release
from modhub.spec.lock import Request
from modhub.training.options import Options as Training
from modhub.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.datasets import Dataset

NAMES = ("fashion-mnist", "cifar10")
ALPHA, LEAST = 1.0, 100
"""Of the Dirichlet distribution, and samples that every class must have, as the paper's on CIFAR-10."""
COMMON = 1000
"""Samples of the training data that no parent sees: modules are chosen on them."""
POOL = 6000


def measure(*, full: bool) -> dict[str, Any]:
    """Return per seed the test accuracy of each parent, of one parent's modules, and of the best modules of all."""
    folder = os.environ.get("MODHUB_BENCH_DATA")
    names = NAMES if full else NAMES[:1]
    sources = {name: [Path(folder or ".") / f"{name}-{part}.npz" for part in ("train", "test")] for name in names}
    missing = [path.name for paths in sources.values() for path in paths if not path.is_file()]
    if missing:
        return {"missing": f"{', '.join(missing)} in MODHUB_BENCH_DATA", "rows": []}
    labels = tuple(f"class-{label}" for label in range(10))
    rows = []
    for name, paths in sources.items():
        train, test = (load_dataset(path) for path in paths)
        pool, common = train.pick(np.arange(POOL)), train.pick(np.arange(POOL, POOL + COMMON))
        for seed in range(2 if full else 1):
            found = run(seed, 10 if full else 3, labels, pool=pool, common=common, test=test)
            rows.append({"data": name, **found})
    return {"common": COMMON, "rows": rows}


def run(
    seed: int, parents: int, labels: Sequence[str], *, pool: Dataset, common: Dataset, test: Dataset
) -> dict[str, Any]:
    """Return what so many biased parents and the best of their modules are worth."""
    alone = []
    with tempfile.TemporaryDirectory() as root:
        registry, store = str(Path(root) / "registry"), Path(root) / "store"
        for number in range(parents):
            some = pool.pick(biased(pool, seed=100 * seed + number))
            torch.manual_seed(number)
            options = Training(objective="plain", epochs=6, rate=0.05, batch=64, device="cpu", seed=number)
            trained = flow.train(
                network(pool.shape), some, Path(root) / f"parent-{number}", validation=common, options=options
            )
            alone.append(right(Session(trained.model.network).run(test.fitted(trained.model.network.input).x), test))
            split = flow.decompose(
                trained.model, some, validation=common, options=Options(max_loss=0.5, keep=0.35, steps=80, seed=seed)
            )
            packages = flow.pack(split, Release(license="MIT", labels=tuple(labels)))
            flow.publish(packages, to=registry, collection=f"biased/parent-{number}", store=store)
        workspace = Workspace.open([registry], store=store)
        found: dict[str, Any] = {"seed": seed, "parents": [round(value, 4) for value in alone]}
        for prefer in ("accuracy", "f1"):
            request = Request(prefer=prefer, calibrating=True)
            parts, _ = flow.gather([f"class:{label}" for label in labels], workspace=workspace, request=request)
            sources = {part.reference.rpartition("/")[0] for part in parts}
            for name, data in ((prefer, None), (f"{prefer}, calibrated", common)):
                named = None if data is None else with_names(data, labels)
                composite = flow.compose(parts, calibrate=named)
                scores = Session(composite.network).run(test.fitted(composite.network.input).x)
                found[name] = {"accuracy": round(right(scores, test), 4), "parents used": len(sources)}
    return found


def network(shape: Sequence[int]) -> nn.Module:
    """Return a small network for images of 28 x 28 (grey) or 32 x 32 (colour)."""
    grey = len(shape) < 3 or 1 in shape
    return nn.Sequential(
        *(nn.Conv2d(1 if grey else 3, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * (5 if grey else 6) ** 2, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def biased(data: Dataset, *, seed: int) -> np.ndarray:
    """Return the rows of a biased sample: of each class a share, as the paper draws it."""
    random = np.random.default_rng(seed)
    counts = np.bincount(data.labels)
    while True:
        share = random.dirichlet(np.full(len(counts), ALPHA))
        kept = (share / share.max() * counts).astype(int)
        if kept.min() >= LEAST:
            break
    rows = [
        random.choice(np.flatnonzero(data.labels == label), count, replace=False) for label, count in enumerate(kept)
    ]
    return np.sort(np.concatenate(rows))


def with_names(data: Dataset, labels: Sequence[str]) -> Dataset:
    """Return a data set whose classes are called as the modules are."""
    return dataclasses.replace(data, classes=tuple(labels))


def right(scores: Any, data: Dataset) -> float:
    """Return how often the highest score is at the label."""
    return float((scores.argmax(axis=1) == data.labels).mean())
