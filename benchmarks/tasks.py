"""Row F8: two-class tasks across data sets, by modules of different parents behind declared adapters.

A class of CIFAR-10 (modules that ship with modhub, 3x32x32) against one of MNIST, Fashion-MNIST (28x28, grey) or USPS
(16x16, grey), whose parents are split here. The task's images are those of CIFAR-10's size; grey ones are enlarged.
Nothing is trained for a task: `calibrate` fits a scale and an offset per module on a few labelled images. The baseline
is a LeNet-5 trained from scratch on all that the papers' authors would have used it for: a thousand images of each.

The parents and data sets are taken from ``MODHUB_BENCH_DATA`` (``mnist-conv-small.onnx``, ``mnist-train.npz`` and so
on); what is missing is named in the result.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.data import cifar10
from benchmarks.patching import lenet
from modhub import flow
from modhub.composer.adapters import resize_matrix
from modhub.composer.part import Part
from modhub.datasets import Dataset, load_dataset
from modhub.decomposers.options import Options
from modhub.engines.runtime import Session
from modhub.metrics import expected_calibration_error
from modhub.package.pack import Release

if TYPE_CHECKING:
    import numpy.typing as npt

COLLECTION = "modhub/resnet20-cifar10"
PARENTS = {"mnist": "mnist-conv-small", "fashion-mnist": "fashion-mnist-mlp3-panrajan", "usps": "usps-cnn-ccexam"}
ADAPTERS = ("channels", "resize")
SIDE = 32
CALIBRATION, SCRATCH, TEST = 100, 1000, 500
"""Images of each class to calibrate on, to train a network from scratch on, and to measure on at most."""
EPOCHS = 10


@dataclass(frozen=True)
class World:
    """A data set and the modules of its classes, in their order."""

    train: Dataset
    test: Dataset
    parts: tuple[Part, ...]


def measure(*, full: bool) -> dict[str, Any]:
    """Return for each data set the mean over tasks: modules as they come, calibrated, and a network from scratch."""
    folder = os.environ.get("MODHUB_BENCH_DATA")
    needed = {name: (f"{model}.onnx", f"{name}-train.npz", f"{name}-test.npz") for name, model in PARENTS.items()}
    needed["cifar10"] = ("cifar10-train.npz", "cifar10-test.npz")
    missing = sorted(
        file for files in needed.values() for file in files if not folder or not (Path(folder) / file).is_file()
    )
    if not folder or any(file.startswith("cifar10") for file in missing):
        return {"missing": missing, "rows": []}
    home = colours()
    there = [name for name in PARENTS if set(needed[name]).isdisjoint(missing)]
    rows = [over_tasks(name, home, grey(Path(folder), name), count=20 if full else 4) for name in there]
    return {"missing": missing, "calibration": 2 * CALIBRATION, "scratch": 2 * SCRATCH, "rows": rows}


def colours() -> World:
    """Return CIFAR-10 and the modules that ship with modhub."""
    train, test = (cifar10(part) for part in ("train", "test"))
    return World(train, test, tuple(flow.gather([f"{COLLECTION}/{name}" for name in train.classes or ()])[0]))


def grey(folder: Path, name: str) -> World:
    """Return a data set of grey images and the modules that its parent is split into here."""
    model = flow.load(folder / f"{PARENTS[name]}.onnx")
    train, test = (load_dataset(folder / f"{name}-{part}.npz") for part in ("train", "test"))
    split = flow.decompose(model, train.take(1500), options=Options(max_loss=1.0, keep=0.35, steps=40))
    packages = flow.pack(split, Release(license="MIT", labels=tuple(f"{name}-{i}" for i in range(10))))
    base, modules = packages[0], packages[1:]
    return World(train, test, tuple(Part(reference=own.name, package=own, base=base) for own in modules))


def over_tasks(name: str, home: World, other: World, *, count: int) -> dict[str, Any]:
    """Return the means over so many random pairs of a class of each data set."""
    random, found = np.random.default_rng(0), []
    for number in range(count):
        pair = (int(random.integers(10)), int(random.integers(10)))
        found.append(task(pair, home, other, seed=number))
    means = {key: round(float(np.mean([one[key] for one in found])), 4) for key in found[0]}
    worst = min(one["calibrated"] for one in found)
    return {"data": name, "tasks": count, **means, "worst task": round(worst, 4)}


def task(pair: tuple[int, int], home: World, other: World, *, seed: int) -> dict[str, float]:
    """Return the test accuracies of one task, and the calibration error after calibrating."""
    parts = [home.parts[pair[0]], other.parts[pair[1]]]
    names = tuple(label.name for part in parts for label in part.package.manifest.classes)
    learn, test = (
        both(names, [images(world, split, label) for world, label in zip((home, other), pair, strict=True)])
        for split in ("train", "test")
    )
    few, some = (first(learn, size) for size in (CALIBRATION, SCRATCH))
    plain = flow.compose(parts, adapters=ADAPTERS)
    fitted = flow.compose(parts, adapters=ADAPTERS, calibrate=few)
    test = first(test, TEST)
    scores = Session(fitted.network).run(test.fitted(fitted.network.input).x)
    errors = [expected_calibration_error(scores[:, i], test.labels == i) for i in range(2)]
    return {
        "as they come": right(Session(plain.network).run(test.fitted(plain.network.input).x), test),
        "calibrated": right(scores, test),
        "calibration error": float(np.mean(errors)),
        "from scratch": right(from_scratch(some, test, seed=seed), test),
    }


def images(world: World, split: str, label: int) -> npt.NDArray[np.uint8]:
    """Return a class's images as colour images of CIFAR-10's size, ``[n, 3, 32, 32]``."""
    data = world.train if split == "train" else world.test
    values = np.asarray(data.values)[data.labels == label]
    # Those that parents learned from come first, so tasks take the last ones.
    values = values[::-1] if split == "train" else values
    values = values[: max(SCRATCH, TEST)]
    if values.ndim == 4 and values.shape[1] == 3:
        return values
    values = values.reshape(len(values), *values.shape[-2:])
    matrix = resize_matrix(values.shape[-1], SIDE)
    large = np.clip(matrix @ values.astype(np.float32) @ matrix.T, 0, 255).round().astype(np.uint8)
    return np.repeat(large[:, None], 3, axis=1)


def both(names: tuple[str, str], found: list[npt.NDArray[np.uint8]]) -> Dataset:
    """Return two classes' images as one data set."""
    labels = np.repeat([0, 1], [len(own) for own in found])
    return Dataset.of(np.concatenate(found), y=labels, classes=list(names), name=" against ".join(names))


def first(data: Dataset, count: int) -> Dataset:
    """Return the first so many images of each class."""
    return data.pick(np.concatenate([np.flatnonzero(data.labels == label)[:count] for label in (0, 1)]))


def from_scratch(data: Dataset, test: Dataset, *, seed: int) -> npt.NDArray[np.float32]:
    """Return the scores of a LeNet-5 that was trained for the task."""
    torch.manual_seed(seed)
    module = torch.nn.Sequential(*lenet()[:-1], torch.nn.Linear(84, 2))  # type: ignore[index]
    optimiser = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.labels)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(x)), 64):
            loss = torch.nn.functional.cross_entropy(module(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.no_grad():
        scores: npt.NDArray[np.float32] = module(torch.from_numpy(test.x)).numpy()
    return scores


def right(scores: Any, data: Dataset) -> float:
    """Return how often the highest score is at the label."""
    return float((scores.argmax(axis=1) == data.labels).mean())
