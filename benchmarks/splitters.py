"""Row S1 for GradSplitter and CNNSplitter, with F1 and F4 beside it: recipe `fast` against `paper`.

Both recipes split the same network on the same data and may lose a point of validation accuracy; then `fast` once more,
told to keep as many kernels as `paper` did. The quick form splits the shipped ResNet-20 on a part of the shipped
images, a few steps or generations each, and shows that everything runs; its numbers mean little. The full form takes
real networks from ``MODHUB_BENCH_DATA`` (``mnist-conv-small.onnx`` and ``cifar10-lenet.onnx``, with
``mnist-train.npz`` and so on) and gives GradSplitter's recipe all its 145 epochs. CNNSplitter's runs all its 200
generations on the first of them, and a few on the others: a generation always costs the same.

What `paper` costs grows with the images that it is given, and the papers give it 50,000; what `fast` costs hardly does.

Networks of the papers themselves are taken from the same folder if they are there (``cifar10-simcnn.onnx`` and others,
see `benchmarks.papers`). ``MODHUB_BENCH_ONLY`` names one parent to run alone.
"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data import cifar10, resnet20
from benchmarks.splitting import randomised, scores_of
from modhub import flow
from modhub.datasets import load_dataset
from modhub.decomposers.options import Options
from modhub.engines.runtime import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from modhub.datasets import Dataset
    from modhub.network.network import Network

METHODS = ("gradsplitter", "cnnsplitter")
QUICK_STEPS = {"fast": 20, "paper": 2}
QUICK_SAMPLES = 400
SAMPLES = {"gradsplitter": 5000, "cnnsplitter": 2500}
"""Training images in the full form, a fifth of them held out; test images are all there are."""
GENERATIONS, ALL_GENERATIONS = 6, 200
WHOLE = "mnist-conv-small"
"""The parent on which CNNSplitter runs all its generations."""
EQUAL = "fast, as many kernels"
PARENTS = ("mnist-conv-small", "cifar10-lenet", "cifar10-simcnn", "cifar10-rescnn", "cifar10-incecnn")
MARKS = {"fast": "o-", "paper": "."}


@dataclasses.dataclass(frozen=True)
class Case:
    """A parent, where its trunk ends, and data."""

    name: str
    network: Network
    cut: str
    train: Dataset
    test: Dataset


def cases(*, full: bool) -> list[Case]:
    """Return the parents of a form; the full one has those that are there, or else the shipped network."""
    shipped = Case("ResNet-20, CIFAR-10, last block", resnet20(), "relu_16", cifar10("train"), cifar10("test"))
    if not full:
        train, test = shipped.train.take(QUICK_SAMPLES), shipped.test.take(QUICK_SAMPLES)
        return [Case(shipped.name, shipped.network, shipped.cut, train, test)]
    folder, only = os.environ.get("MODHUB_BENCH_DATA"), os.environ.get("MODHUB_BENCH_ONLY")
    found = []
    for name in (only,) if only else PARENTS:
        path = Path(folder or ".") / f"{name}.onnx"
        if folder and path.is_file():
            network = flow.load(path).network
            train, test = (
                load_dataset(path.with_name(f"{name.partition('-')[0]}-{part}.npz")) for part in ("train", "test")
            )
            found.append(Case(name, network, "none", train, test.fitted(network.input)))
    return found or [shipped]


def measure(*, full: bool) -> dict[str, Any]:
    """Return for each parent and system what both recipes cost and give, and how many times less `fast` costs."""
    subjects = [subject(case, method, full=full) for case in cases(full=full) for method in METHODS]
    return {"max_loss": 1.0, "subjects": subjects}


def subject(case: Case, method: str, *, full: bool) -> dict[str, Any]:
    """Return one system on one parent, by both recipes."""
    if full:
        case = dataclasses.replace(case, train=case.train.take(SAMPLES[method]))
    recipes = {}
    for recipe in ("paper", "fast"):
        steps = None if full else QUICK_STEPS[recipe]
        if full and (method, recipe) == ("cnnsplitter", "paper") and case.name != WHOLE:
            steps = GENERATIONS
        recipes[recipe] = run(case, method, recipe, steps=steps, keep=0.1 if full else 0.6)
    paper = recipes["paper"]
    if full and method == "cnnsplitter":
        made = [event["seconds_cpu"] for event in paper["curve"] if event["step"] == "generation"]
        each = (made[-1] - made[0]) / (len(made) - 1)
        paper["seconds_all"] = round(paper["seconds_cpu"] + each * (ALL_GENERATIONS - len(made)), 1)
        paper["generations"] = len(made)
    fast_steps = None if full else QUICK_STEPS["fast"]
    recipes[EQUAL] = equal = run(case, method, "fast", steps=fast_steps, keep=paper["kept"], max_loss=100.0)
    return {
        "parent": case.name,
        "method": method,
        "samples": len(case.train),
        "accuracy": right(Session(case.network).run(case.test.x), case.test),
        "test": len(case.test),
        "recipes": recipes,
        "ratio": round(paper.get("seconds_all", paper["seconds_cpu"]) / equal["seconds_cpu"], 1),
    }


def run(
    case: Case, method: str, recipe: str, *, steps: int | None, keep: float, max_loss: float = 1.0
) -> dict[str, Any]:
    """Return what one recipe costs and gives on one parent, so many points of validation accuracy allowed."""
    curve: list[dict[str, Any]] = []
    started = time.process_time()

    def note(event: Mapping[str, Any]) -> None:
        if "kept" in event and "accuracy" in event:
            told = {name: event[name] for name in ("step", "kept", "accuracy")}
            curve.append({**told, "seconds_cpu": round(time.process_time() - started, 2)})

    options = Options(recipe=recipe, max_loss=max_loss, keep=keep, cut=case.cut, steps=steps, align=1)
    split = flow.decompose(case.network, case.train, method=method, options=options, progress=note)
    seconds, chosen = time.process_time() - started, curve.pop()
    return {
        "seconds_cpu": round(seconds, 1),
        "kept": chosen["kept"],
        "validation": chosen["accuracy"],
        "composed": right(scores_of(split, case.test), case.test),
        "random masks": right(scores_of(randomised(split), case.test), case.test),
        "curve": curve,
    }


def right(scores: Any, test: Dataset) -> float:
    """Return how often the highest score is at the label."""
    return float((scores.argmax(axis=1) == test.labels).mean())


def draw(values: dict[str, Any], axes: Axes) -> None:
    """Draw what both recipes of GradSplitter keep and lose."""
    for number, own in enumerate(one for one in values["subjects"] if one["method"] == METHODS[0]):
        for recipe, mark in MARKS.items():
            curve = [event for event in own["recipes"][recipe]["curve"] if event["kept"] < 1]
            points = [(100 * event["kept"], 100 * event["accuracy"]) for event in curve]
            label = f"{own['parent']}, {recipe}"
            axes.plot(*np.array(points).reshape(-1, 2).T, mark, color=f"C{number}", alpha=0.5, label=label)
    axes.set_xlabel("kernels kept per module, %")
    axes.set_ylabel("validation accuracy of all modules, %")
    axes.legend()
