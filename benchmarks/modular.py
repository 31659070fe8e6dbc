"""Rows F9, F10 and MODA's tables: modular against plain training, and the modules of both."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmarks.data import cifar10
from benchmarks.shapes import SHAPES
from benchmarks.splitting import accuracies, scores_of
from modhub import flow
from modhub.decomposers.moda import ModularityLoss
from modhub.decomposers.moda.metrics import composed_size, summary
from modhub.decomposers.options import Options as Splitting
from modhub.engines.evaluation import measure_latency
from modhub.engines.runtime import Session
from modhub.network.slice import sliced
from modhub.training.options import Options as Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition
    from modhub.training.train import Trained

TERMS = ("affinity", "dispersion", "compactness")
WEIGHTS = {"alpha": 1.0, "beta": 1.0, "gamma": 0.3}
VALUES = {"alpha": (0.0, 1.0, 2.0), "beta": (0.0, 1.0, 2.0), "gamma": (0.0, 0.3, 1.0, 2.0)}
STEPS = 30
"""Steps of either kind, for the time of one."""

SUBSETS = 10
"""Random class sets per size, for the size of what is composed."""


def measure(*, full: bool) -> dict[str, Any]:
    """Return the accuracy, time, size and overlap of both kinds of training, per shape; F10; the sensitivity."""
    everything, test = cifar10("train"), cifar10("test")
    # The quick form shows that it runs; its networks have seen too little to mean much.
    data = everything if full else everything.take(600)
    test = test if full else test.take(300)
    train, validation = data.split(0.1)
    options = Training(epochs=10 if full else 2, batch=128 if full else 64, flip=True, crop=4, device="cpu")
    names = list(SHAPES) if full else ["ResNet"]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), train, validation, test, options)
        shapes = [row for name in names for row in bench.shape(name)]
        smooth = [row for name in (("SiLU", "GELU", "ReLU") if full else ("SiLU",)) for row in bench.resolution(name)]
        sensitivity = bench.sensitivity(VALUES if full else {"gamma": (0.0, 0.3)})
    return {
        "train": len(train),
        "test": len(test),
        "epochs": options.epochs,
        "shapes": shapes,
        "high resolution": smooth,
        "sensitivity": sensitivity,
    }


@dataclasses.dataclass
class Bench:
    """Data and options that all runs share; `runs` counts the folders."""

    folder: Path
    train: Dataset
    validation: Dataset
    test: Dataset
    options: Training
    runs: int = 0

    def shape(self, name: str) -> list[dict[str, Any]]:
        """Return a row per kind of training and recipe."""
        found = {objective: self.trained(SHAPES[name], objective=objective) for objective in ("plain", "moda")}
        times = step_times(SHAPES[name], self.train, steps=STEPS if len(self.train) > 5000 else 6)
        rows = []
        for objective, trained in found.items():
            scores = Session(trained.model.network).run(self.test.x)
            parent = {
                "shape": name,
                "training": objective,
                "parameters": trained.model.network.parameters,
                "seconds": round(trained.report["seconds"], 1),
                "time against plain": round(times[objective] / times["plain"], 3),
                "accuracies": accuracies(scores, scores, self.test),
                "terms": terms_of(trained),
            }
            rows += [
                {**parent, "recipe": recipe, **self.modules(trained, recipe, self.validation, self.test)}
                for recipe in ("paper", "fast")
            ]
        return rows

    def trained(
        self, shape: Any, *, data: Dataset | None = None, held_out: Dataset | None = None, **changes: Any
    ) -> Trained:
        """Return a network trained from one seed."""
        self.runs += 1
        torch.manual_seed(0)
        return flow.train(
            shape(),
            data or self.train,
            self.folder / str(self.runs),
            validation=held_out or self.validation,
            options=dataclasses.replace(self.options, **changes),
        )

    def modules(self, trained: Trained, recipe: str, validation: Dataset, test: Dataset) -> dict[str, Any]:
        """Return what a network's modules are worth and what they weigh."""
        options = Splitting(recipe=recipe, cut="none", max_loss=1.0, keep=0.05, align=1)
        split = flow.decompose(trained.model, self.watched(test), method="moda", validation=validation, options=options)
        parent = Session(trained.model.network).run(test.x)
        whole = measure_latency(trained.model.network, test)[1]
        first = sliced(split.parent, split.sites, split.modules[0])
        return {
            "modules": accuracies(scores_of(split, test), parent, test),
            "sizes": {name: round(value, 4) for name, value in summary(split).items()},
            "composed size": {str(size): round(mean_composed_size(split, size), 4) for size in (2, 5, 10)},
            "latency": round(measure_latency(first, test)[1] / whole, 3),
        }

    def watched(self, test: Dataset) -> Dataset:
        """Return the training data whose activations are watched, as large as the test data is."""
        some = self.train.take(2000)
        return some if some.shape == test.shape else enlarged(some, factor=test.shape[1] // some.shape[1])

    def resolution(self, name: str) -> list[dict[str, Any]]:
        """Return rows for a ResNet on enlarged images: how much each recipe keeps, and what it is then worth."""
        count = max(400, len(self.train) // 4)
        data, held_out, test = (
            enlarged(own.take(size), factor=2)
            for own, size in ((self.train, count), (self.validation, count // 4), (self.test, count // 4))
        )
        act = {"SiLU": nn.SiLU, "GELU": nn.GELU, "ReLU": nn.ReLU}[name]
        trained = self.trained(
            lambda: SHAPES["ResNet"](act), objective="moda", data=data, held_out=held_out,
            epochs=max(1, self.options.epochs // 2),
        )  # fmt: skip
        scores = Session(trained.model.network).run(test.x)
        parent = {"activation": name, "side": data.shape[1], "accuracies": accuracies(scores, scores, test)}
        return [
            {**parent, "recipe": recipe, **self.modules(trained, recipe, held_out, test)}
            for recipe in ("paper", "fast")
        ]

    def sensitivity(self, values: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
        """Return the terms and the accuracy of a VGG for each weight changed alone."""
        rows = []
        epochs = max(1, self.options.epochs // 3)
        for weight, tried in values.items():
            for value in tried:
                trained = self.trained(SHAPES["VGG"], epochs=epochs, **{**WEIGHTS, weight: value})
                accuracy = trained.report["accuracy"]["value"]
                rows.append({"weight": weight, "value": value, "accuracy": accuracy, **terms_of(trained)})
        return rows


def step_times(shape: Any, data: Dataset, *, steps: int) -> dict[str, float]:
    """Return the median CPU seconds of a training step, plain and modular in turn, so that both share the weather.

    It is the processor's time, which other work on the machine does not stretch.
    """
    torch.manual_seed(0)
    net = shape().train()
    some = data.take(128)
    x, y = torch.from_numpy(some.x), torch.from_numpy(some.labels)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    seen: dict[str, list[float]] = {"plain": [], "moda": []}
    for step in range(2 * steps + 2):
        objective = "moda" if step % 2 else "plain"
        started = time.process_time()
        with ModularityLoss(net) if objective == "moda" else contextlib.nullcontext() as modularity:
            loss = nn.functional.cross_entropy(net(x), y)
            if modularity is not None:
                loss = loss + modularity(y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if step > 1:
            seen[objective].append(time.process_time() - started)
    return {objective: float(np.median(times)) for objective, times in seen.items()}


def terms_of(trained: Trained) -> dict[str, float]:
    """Return the terms of the loss in the last epoch; none after plain training."""
    last = trained.report["history"][-1]
    return {name: round(last[name], 4) for name in TERMS if name in last}


def mean_composed_size(split: Decomposition, size: int) -> float:
    """Return the mean size of the union of random sets of modules."""
    random = np.random.default_rng(0)
    sets = [random.choice(len(split.modules), size, replace=False) for _ in range(SUBSETS if size < 10 else 1)]
    return float(
        np.mean([composed_size(split.parent, split.sites, tuple(split.modules[i] for i in own)) for own in sets])
    )


def enlarged(data: Dataset, *, factor: int) -> Dataset:
    """Return images with each pixel repeated."""
    return dataclasses.replace(data, values=data.values.repeat(factor, axis=2).repeat(factor, axis=3))


def draw(values: dict[str, Any], axes: Axes) -> None:
    """Draw how the terms and the accuracy change with each weight."""
    for name, style in zip((*TERMS, "accuracy"), ("-", "--", ":", "-."), strict=True):
        for number, weight in enumerate(WEIGHTS):
            rows = [row for row in values["sensitivity"] if row["weight"] == weight]
            label = name if not number else None
            axes.plot(
                [row["value"] + 3 * number for row in rows],
                [row[name] for row in rows],
                style,
                color=f"C{(*TERMS, 'accuracy').index(name)}",
                marker="o",
                label=label,
            )
    axes.set_xticks(
        [0, 1, 2, 3, 4, 5, 6, 7, 8], ["alpha 0", "1", "2", "beta 0", "1", "2", "gamma 0", "1", "2"], rotation=45
    )
    axes.legend()
