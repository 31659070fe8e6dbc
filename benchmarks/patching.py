"""Rows F6 and F7: weak models patched by modules, by kind of weakness and by glue."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmarks.data import cifar10
from modhub import flow
from modhub.composer.patch import Options as Patching
from modhub.training.options import Options as Training

if TYPE_CHECKING:
    from modhub.composer.compose import Part
    from modhub.datasets import Dataset
    from modhub.engines.model import Model

COLLECTION = "modhub/resnet20-cifar10"
SHARE = 0.1
"""Share of the training data that weak models see, as in the papers."""

UNDERFITTED, OVERFITTED = 6, 40
"""Epochs of a weak model with six classes."""

MEASURES = ("precision", "recall", "f1", "others")


def lenet(classes: int = 10) -> nn.Module:
    """Return the weak model's shape: LeNet-5 on colour images."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)),
    )


def tiny() -> nn.Module:
    """Return a network too small for the task."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()),
        nn.Linear(200, 10),
    )


def measure(*, full: bool) -> dict[str, Any]:
    """Return the change that patching makes, on test data: per kind of weak model and glue, and as MODA's Table 1."""
    # The strong parent has seen the training data: the glue is fitted on part of the test data, then left out.
    pool, (test, glue_data) = cifar10("train"), cifar10("test").take(3000 if full else 600).split(0.4)
    some = pool.take(max(200, round(SHARE * len(pool))))
    epochs_of = {"simple": 6, "underfitted": 5, "overfitted": 60} if full else {"underfitted": 4, "overfitted": 15}
    names = pool.classes or ()
    parts = {name: flow.gather([f"{COLLECTION}/{name}"])[0][0] for name in names[: 5 if full else 2]}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, epochs in epochs_of.items():
            weak = weak_model(kind, epochs, pool if kind == "simple" else some, Path(folder) / kind)
            rows += [
                {"weak model": kind, "glue": glue, **over_classes(weak, parts, glue, glue_data, test)}
                for glue in ("linear", "minmax", "none")
            ]
        replaced = [
            replacement(kind, part, name, data=(pool, glue_data, test), folder=Path(folder) / f"{kind}-{name}")
            for kind in ("underfitted", "overfitted")
            for name, part in parts.items()
        ]
    return {
        "weak train": len(some),
        "glue data": len(glue_data),
        "test": len(test),
        "classes": len(parts),
        "rows": rows,
        "replaced": replaced,
    }


def replacement(
    kind: str, part: Part, name: str, *, data: tuple[Dataset, Dataset, Dataset], folder: Path
) -> dict[str, Any]:
    """Return the change of accuracy, in points, where a weak model of six classes has one replaced.

    As in the paper the weak model knows five classes and the target, from a tenth of the training data, and was itself
    trained to be modular; the target is its last class.
    """
    names = [*(data[0].classes or ())[5:], name]
    pool, glue_data, test = (own.subset(names) for own in data)
    some = pool.take(round(SHARE * len(pool)))
    torch.manual_seed(0)
    options = Training(epochs=UNDERFITTED if kind == "underfitted" else OVERFITTED, batch=64, device="cpu")
    weak = flow.train(lenet(len(names)), some, folder, validation=some.take(100), options=options).model
    changes = flow.patch(weak, part, Patching(label=name), data=glue_data, test=test).changes["test"]
    before, after = changes["before"], changes["after"]
    return {
        "weak model": kind,
        "class": name,
        "before": round(before["recall"], 4),
        "target": round(100 * (after["recall"] - before["recall"]), 2),
        "others": round(100 * (after["others"] - before["others"]), 2),
    }


def weak_model(kind: str, epochs: int, data: Dataset, folder: Path) -> Model:
    """Return a weak model of a kind: too simple, trained too short, or too long, on a tenth of the data."""
    torch.manual_seed(0)
    module = tiny() if kind == "simple" else lenet()
    options = Training(
        objective="plain", epochs=epochs, rate=0.02, batch=64, flip=kind == "simple", device="cpu", normalise=True
    )
    return flow.train(module, data, folder, validation=data.take(200), options=options).model


def over_classes(weak: Model, parts: dict[str, Part], glue: str, data: Dataset, test: Dataset) -> dict[str, Any]:
    """Return the means over target classes before and after, and for how many of them recall fell on test data."""
    weak = dataclasses.replace(weak, columns=data.classes or weak.columns)
    changes = [
        flow.patch(weak, part, Patching(label=name, glue=glue), data=data, test=test).changes["test"]
        for name, part in parts.items()
    ]
    means = {
        side: {name: round(float(np.mean([change[side][name] for change in changes])), 4) for name in MEASURES}
        for side in ("before", "after")
    }
    fallen = sum(change["after"]["recall"] < change["before"]["recall"] for change in changes)
    return {**means, "recall fell for": fallen}
