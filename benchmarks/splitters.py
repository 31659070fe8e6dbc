"""Rows S1, F1, F3, F4 for every recipe of GradSplitter and CNNSplitter: CPU seconds, accuracy, random-mask controls.

The quick form splits the shipped ResNet-20 on a part of the shipped images, a few steps or generations each, and shows
that everything runs; its numbers mean little. The full form takes the parents in ``MODHUB_BENCH_MODELS``, a folder with
any of ``cifar10-simcnn.onnx``, ``cifar10-rescnn.onnx``, ``cifar10-incecnn.onnx`` (see `benchmarks.papers`) and
``cifar100-resnet20.onnx`` (see `benchmarks.parents`), on the data sets in ``MODHUB_BENCH_DATA``, and gives the papers'
recipes all their epochs and generations.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data import cifar10, resnet20
from benchmarks.splitting import randomised, scores_of
from modhub import flow
from modhub.datasets import load_dataset
from modhub.decomposers.options import Options
from modhub.engines.runtime import Session
from modhub.network.modules import kernels, kernels_kept

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

RUNS = (("gradsplitter", "fast"), ("gradsplitter", "paper"), ("cnnsplitter", "fast"), ("cnnsplitter", "paper"))
QUICK_STEPS = {"fast": 20, "paper": 2}
QUICK_SAMPLES = 400
PARENTS = ("cifar10-simcnn", "cifar10-rescnn", "cifar10-incecnn", "cifar100-resnet20")


@dataclass(frozen=True)
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
    models, data = (os.environ.get(f"MODHUB_BENCH_{kind}") for kind in ("MODELS", "DATA"))
    found = []
    for name in PARENTS:
        path = Path(models or ".") / f"{name}.onnx"
        if models and data and path.is_file():
            sets = [load_dataset(Path(data) / f"{name.partition('-')[0]}-{part}.npz") for part in ("train", "test")]
            found.append(Case(name, flow.load(path).network, "none", *sets))
    return found or [shipped]


def measure(*, full: bool) -> dict[str, Any]:
    """Return for each parent and recipe the CPU seconds, retention and test accuracy, beside random masks."""
    rows = [row for case in cases(full=full) for method, recipe in RUNS for row in [run(case, method, recipe, full)]]
    return {"rows": rows}


def run(case: Case, method: str, recipe: str, full: bool) -> dict[str, Any]:  # noqa: FBT001
    """Return a row: one recipe on one parent, a point of accuracy allowed."""
    steps = None if full else QUICK_STEPS[recipe]
    options = Options(recipe=recipe, max_loss=1.0, keep=0.25 if full else 0.6, cut=case.cut, steps=steps)
    started = time.process_time()
    split = flow.decompose(case.network, case.train, method=method, options=options)
    seconds = time.process_time() - started
    parent = share_right(Session(case.network).run(case.test.x), case.test)
    return {
        "parent": case.name,
        "recipe": f"{method}, {recipe}",
        "CPU s": round(seconds, 1),
        "kernels kept": percent(retention(split)),
        "parent's accuracy": percent(parent),
        "composed": percent(share_right(scores_of(split, case.test), case.test)),
        "random masks": percent(share_right(scores_of(randomised(split), case.test), case.test)),
    }


def retention(split: Decomposition) -> float:
    """Return the mean share of all the parent's kernels that a module keeps; those of the trunk count as kept."""
    sites = [site for site in split.sites.sites if not site.pinned]
    kept = sum(kernels_kept(sites, module.kept) for module in split.modules)
    return kept / len(split.modules) / kernels(sites)


def share_right(scores: Any, test: Dataset) -> float:
    """Return how often the highest score is at the label."""
    return float((scores.argmax(axis=1) == test.labels).mean())


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.1f} %"
