"""Rows F9, F10 and MODA's tables: modular against plain training, and the modules of both."""

from __future__ import annotations

import contextlib
import dataclasses
import os
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
from modhub.composer.join import join
from modhub.decomposers.moda import ModularityLoss
from modhub.decomposers.moda.metrics import composed_size, summary
from modhub.decomposers.options import Options as Splitting
from modhub.engines.evaluation import measure_latency
from modhub.engines.runtime import Session
from modhub.network.modules import ClassModule
from modhub.network.slice import sliced
from modhub.training.options import Options as Training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes

    from modhub.datasets import Dataset
    from modhub.engines.model import Model
    from modhub.network.modules import Decomposition
    from modhub.training.train import Trained

RECIPES = ("paper", "fast")
TERMS = ("affinity", "dispersion", "compactness")
STEPS = 20
"""Steps of either kind, for the time of one."""

WATCHED = 1500
"""Training images whose activations are watched."""

IMAGES = 5500
"""Images that networks are trained and validated on."""

JUDGED = 1000
"""Further images that the choice of how much to keep is made on."""

TASKS = 5
"""Random class sets per size, of which the modules are merged into one network."""

SIZES = (2, 3, 5, 8, 10)

SMOOTH = {"ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU}


def measure(*, full: bool) -> dict[str, Any]:
    """Return the accuracy, time, size and overlap of both kinds of training, per shape; fine-tuning; and F10."""
    everything, test = cifar10("train"), cifar10("test")
    # The quick form shows that it runs; its networks have seen too little to mean much.
    train, validation = everything.take(IMAGES if full else 600).split(0.1)
    options = Training(epochs=6 if full else 2, batch=64, flip=True, crop=4, device="cpu")
    with runs_folder("moda", full=full) as folder:
        more = held_out(everything) if full else None
        bench = Bench(folder, train, validation, test.take(3000 if full else 300), options, more)
        names = list(SHAPES) if full else ["ResNet"]
        shapes = [row for name in names for row in bench.shape(name)]
        tuned = bench.fine_tuned("ResNet", epochs=2 if full else 1)
        smooth = [row for name in (SMOOTH if full else ["SiLU"]) for row in bench.resolution(name)]
    return {
        "train": len(train),
        "validation": len(bench.judged),
        "test": len(bench.test),
        "epochs": options.epochs,
        "shapes": shapes,
        "fine-tuned": tuned,
        "high resolution": smooth,
    }


def held_out(everything: Dataset) -> Dataset | None:
    """Return the last images of each class, which no network is trained on; None where there are too few.

    They are enough to tell a loss of one or two points, the validation data of training is not.
    """
    if len(everything) < 2 * IMAGES:
        return None
    return everything.pick(np.arange(len(everything))[::-1]).take(JUDGED)


@contextlib.contextmanager
def runs_folder(name: str, *, full: bool) -> Iterator[Path]:
    """Return where training runs go: beside the data, where a later call finds them finished, or a passing folder."""
    kept = os.environ.get("MODHUB_BENCH_DATA")
    if kept:
        yield Path(kept) / "runs" / f"{name}-{'full' if full else 'quick'}"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@dataclasses.dataclass(frozen=True)
class Bench:
    """The folder, data and options that all runs share."""

    folder: Path
    train: Dataset
    validation: Dataset
    test: Dataset
    options: Training
    more: Dataset | None = None
    """What modules are chosen on; None for the validation data of training."""

    @property
    def judged(self) -> Dataset:
        """Return what modules are chosen on."""
        return self.validation if self.more is None else self.more

    def shape(self, name: str) -> list[dict[str, Any]]:
        """Return a row per kind of training and recipe."""
        found = {kind: self.trained(f"{name}-{kind}", SHAPES[name], objective=kind) for kind in ("plain", "moda")}
        times = step_times(SHAPES[name], self.train, steps=STEPS if len(self.train) > 1000 else 6)
        rows = []
        for kind, trained in found.items():
            parent = {
                "shape": name,
                "training": kind,
                "parameters": trained.model.network.parameters,
                "seconds": round(trained.report["seconds"], 1),
                "time against plain": round(times[kind] / times["plain"], 3),
                **self.measured(trained),
            }
            rows += [{**parent, "recipe": recipe, **self.modules(trained.model, recipe)} for recipe in RECIPES]
        return rows

    def measured(self, trained: Trained) -> dict[str, Any]:
        """Return the test accuracy of a network, and the terms of the loss in its last epoch, if it was modular."""
        scores = Session(trained.model.network).run(self.test.x)
        last = trained.report["history"][-1]
        terms = {name: round(last[name], 4) for name in TERMS if name in last}
        return {"accuracies": accuracies(scores, scores, self.test), "terms": terms}

    def trained(self, name: str, shape: Callable[[], nn.Module] | Model, **changes: Any) -> Trained:
        """Return a network trained from one seed, or the one that a run of this name left behind."""
        torch.manual_seed(0)
        return flow.train(
            shape if hasattr(shape, "network") else shape(),
            self.train,
            self.folder / name,
            validation=self.validation,
            options=dataclasses.replace(self.options, **changes),
            resume=True,
        )

    def modules(self, model: Model, recipe: str) -> dict[str, Any]:
        """Return what a network's modules are worth and what they weigh."""
        options = Splitting(recipe=recipe, cut="none", max_loss=1.0, keep=0.05, align=1)
        split = flow.decompose(model, self.train.take(WATCHED), method="moda", validation=self.judged, options=options)
        parent = Session(model.network).run(self.test.x)
        whole = measure_latency(model.network, self.test)[1]
        first = sliced(split.parent, split.sites, split.modules[0])
        return {
            "rule": split.method.parameters["rule"],
            "repaired": split.method.parameters["repaired"],
            "modules": accuracies(scores_of(split, self.test), parent, self.test),
            "sizes": {name: round(value, 4) for name, value in summary(split).items()},
            "latency": round(measure_latency(first, self.test)[1] / whole, 3),
            # In the paper tasks are made of modules by its own rule.
            "tasks": sub_tasks(split, self.test.take(1000)) if recipe == "paper" else [],
        }

    def fine_tuned(self, name: str, *, epochs: int) -> list[dict[str, Any]]:
        """Return rows for the plainly trained network of a shape, and for it made modular in a few epochs."""
        plain = self.trained(f"{name}-plain", SHAPES[name], objective="plain")
        flips = {"flip": self.options.flip, "crop": self.options.crop}
        tuning = Training.fine_tuning(epochs=epochs, rate=0.02, batch=self.options.batch, device="cpu", **flips)
        tuned = dataclasses.replace(self, options=tuning).trained(f"{name}-tuned", plain.model)
        return [
            {
                "training": kind,
                "epochs": done,
                "recipe": "fast",
                **self.measured(own),
                **self.modules(own.model, "fast"),
            }
            for kind, done, own in (("plain", 0, plain), ("plain, then modular", epochs, tuned))
        ]

    def resolution(self, name: str) -> list[dict[str, Any]]:
        """Return rows for a ResNet on enlarged images: how much each recipe keeps, and what it is then worth."""
        bench = dataclasses.replace(
            self,
            train=enlarged(self.train, factor=2),
            validation=enlarged(self.validation, factor=2),
            test=enlarged(self.test.take(1000), factor=2),
            more=None if self.more is None else enlarged(self.more, factor=2),
            options=dataclasses.replace(self.options, epochs=self.options.epochs + 2, crop=8),
        )
        count = len(bench.train)
        trained = bench.trained(f"ResNet-{name}-64-{count}", lambda: SHAPES["ResNet"](SMOOTH[name]), objective="moda")
        images = {"side": bench.train.shape[1], "train": count, "test": len(bench.test), "epochs": bench.options.epochs}
        parent = {"activation": name, **images, **bench.measured(trained)}
        return [{**parent, "recipe": recipe, **bench.modules(trained.model, recipe)} for recipe in RECIPES]


def sub_tasks(split: Decomposition, test: Dataset) -> list[dict[str, float]]:
    """Return a row per number of classes: accuracy and size of modules merged into one network, as in the paper.

    The paper takes every set of two or more of ten classes; here a few are drawn of each size.
    """
    random, count = np.random.default_rng(0), len(split.modules)
    whole = Session(split.parent).run(test.x)
    rows = []
    for size in SIZES:
        sets = [np.sort(random.choice(count, size, replace=False)) for _ in range(TASKS if size < count else 1)]
        found = []
        for members in sets:
            some = test.pick(np.flatnonzero(np.isin(test.labels, members)))
            modules = [split.modules[i] for i in members]
            merged = Session(merge(split, modules)).run(some.x).argmax(axis=1)
            parent = whole[np.isin(test.labels, members)][:, members].argmax(axis=1)
            right = [float((members[said] == some.labels).mean()) for said in (merged, parent)]
            found.append((*right, composed_size(split.parent, split.sites, tuple(modules))))
        means = np.mean(found, axis=0).round(4).tolist()
        rows.append({"classes": size, **dict(zip(("merged", "parent", "size"), means, strict=True))})
    return rows


def merge(split: Decomposition, modules: list[ClassModule]) -> Any:
    """Return modules as one network with what any of them keeps, scores as they are."""
    kept = {
        site: np.unique(np.concatenate([module.kept[site] for module in modules]))
        for site in set.intersection(*(set(module.kept) for module in modules))
    }
    parts = [ClassModule(label=module.label, row=module.row, kept=kept) for module in modules]
    return join([(f"m{i}", sliced(split.parent, split.sites, part)) for i, part in enumerate(parts)])


def step_times(shape: Any, data: Dataset, *, steps: int) -> dict[str, float]:
    """Return the median CPU seconds of a training step, plain and modular in turn, so that both share the weather.

    It is the processor's time, which other work on the machine does not stretch.
    """
    torch.manual_seed(0)
    net = shape().train().to(memory_format=torch.channels_last)
    some = data.take(128)
    x, y = torch.from_numpy(some.x).to(memory_format=torch.channels_last), torch.from_numpy(some.labels)
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


def enlarged(data: Dataset, *, factor: int) -> Dataset:
    """Return images with each pixel repeated."""
    return dataclasses.replace(data, values=data.values.repeat(factor, axis=2).repeat(factor, axis=3))


def draw(values: dict[str, Any], axes: Axes) -> None:
    """Draw the accuracy of merged sub-tasks against their size, of modular and plain training, by recipe ``paper``."""
    for number, name in enumerate(dict.fromkeys(row["shape"] for row in values["shapes"])):
        for row in values["shapes"]:
            if row["shape"] == name and row["recipe"] == "paper":
                is_modular = row["training"] == "moda"
                axes.plot(
                    [100 * task["size"] for task in row["tasks"]],
                    [100 * (task["merged"] - task["parent"]) for task in row["tasks"]],
                    "-o" if is_modular else ":s",
                    color=f"C{number}",
                    markersize=4,
                    label=f"{name}, {'modular' if is_modular else 'plain'}",
                )
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.set_xlabel("weights of the merged network, % of the parent's (2 to 10 classes)")
    axes.set_ylabel("accuracy against the parent's, points")
    axes.legend(frameon=False)
