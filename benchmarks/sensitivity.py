"""MODA's sensitivity curves, and its relatives: what each weight and the threshold do, on a small network."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data import cifar10
from benchmarks.modular import TERMS, Bench, runs_folder, step_times
from benchmarks.shapes import small
from benchmarks.splitting import scores_of
from modhub.datasets import load_dataset
from modhub.decomposers.moda.extraction import FREQUENCY, Extraction
from modhub.decomposers.moda.metrics import summary
from modhub.decomposers.options import Options as Splitting
from modhub.decomposers.options import silent
from modhub.engines.runtime import Session
from modhub.training.options import Options as Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from modhub.datasets import Dataset
    from modhub.training.train import Trained

WEIGHTS = {"alpha": 1.0, "beta": 1.0, "gamma": 0.3}
VALUES = {"alpha": (0.0, 1.0, 2.0), "beta": (0.0, 1.0, 2.0), "gamma": (0.0, 0.3, 1.0, 2.0)}
TAUS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
TAU = 0.9
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"objective": "plain"},
    "MODA": {},
    "MwT's weights": {"alpha": 0.5, "beta": 1.5, "gamma": 0.0},
    "NeMo's contrast": {"alpha": 0.0, "beta": 0.0, "contrast": 1.0},
}
STEPS = 20


def measure(*, full: bool) -> dict[str, Any]:
    """Return rows per kind of training, per weight changed alone, and per threshold."""
    everything, test = data("train"), data("test")
    train, validation = everything.take(5500 if full else 500).split(0.1)
    options = Training(epochs=6 if full else 1, batch=64, device="cpu")
    with runs_folder("sensitivity", full=full) as folder:
        bench = Bench(folder, train, validation, test.take(5000 if full else 300), options)
        kinds = {name: trained(bench, **changes) for name, changes in KINDS.items()}
        weights = [
            {"weight": name, "value": value, **row(bench, trained(bench, **{**WEIGHTS, name: value}))}
            for name, values in (VALUES if full else {"gamma": (0.0, 0.3)}).items()
            for value in values
        ]
    times = step_times(lambda: net(train), train, steps=STEPS if full else 4)
    return {
        "data": "Fashion-MNIST" if train.shape[0] == 1 else "CIFAR-10",
        "train": len(train),
        "test": len(bench.test),
        "epochs": options.epochs,
        "time against plain": round(times["moda"] / times["plain"], 3),
        "kinds": [
            {"training": name, **row(bench, own), "fast": bench.modules(own.model, "fast")}
            for name, own in kinds.items()
        ],
        "weights": weights,
        "tau": [found for kind in ("plain", "MODA") for found in thresholds(bench, kinds[kind], kind)],
    }


def data(split: str) -> Dataset:
    """Return Fashion-MNIST from ``MODHUB_BENCH_DATA``, or else the CIFAR-10 that ships."""
    file = Path(os.environ.get("MODHUB_BENCH_DATA", "")) / f"fashion-mnist-{split}.npz"
    if not file.is_file():
        return cifar10(split)
    found = load_dataset(file)
    grey = found.values.ndim == 3
    return dataclasses.replace(found, values=found.values[:, None]) if grey else found


def net(train: Dataset) -> Any:
    """Return the network for images of a shape."""
    return small(*train.shape[:2])


def trained(bench: Bench, **changes: Any) -> Trained:
    """Return the small network trained one way; a run that is there already is taken."""
    name = "-".join(f"{key}-{value}" for key, value in sorted({**WEIGHTS, **changes}.items()))
    return bench.trained(name, lambda: net(bench.train), **changes)


def row(bench: Bench, own: Trained) -> dict[str, Any]:
    """Return the accuracy, the terms, and the modules by the paper's rule."""
    split = extraction(bench, own)
    return {**bench.measured(own), **at_threshold(bench, split, TAU)}


def extraction(bench: Bench, own: Trained) -> Extraction:
    """Return the activity of a network."""
    some, options = bench.train.take(1500), Splitting(recipe="paper", cut="none")
    return Extraction.prepare(own.model.network, some, bench.validation, options=options, progress=silent)


def at_threshold(bench: Bench, found: Extraction, tau: float) -> dict[str, Any]:
    """Return size, overlap and test accuracy of the modules at a threshold: by calibrated scores, and by raw logits."""
    rung = found.rung(found.by_frequency(tau), rule=FREQUENCY, threshold=tau)
    split = found.finish([rung], train=bench.train, validation=bench.validation)
    scores = scores_of(split, bench.test)
    return {
        "sizes": {name: round(value, 4) for name, value in summary(split).items()},
        "modules": round(float((scores.argmax(axis=1) == bench.test.labels).mean()), 4),
    }


def thresholds(bench: Bench, own: Trained, kind: str) -> list[dict[str, Any]]:
    """Return a row per threshold."""
    found = extraction(bench, own)
    accuracy = float((Session(own.model.network).run(bench.test.x).argmax(axis=1) == bench.test.labels).mean())
    return [
        {"training": kind, "tau": tau, "parent": round(accuracy, 4), **at_threshold(bench, found, tau)} for tau in TAUS
    ]


def draw(values: dict[str, Any], axes: Axes) -> None:
    """Draw what each weight does to terms, accuracy and module size, and what the threshold does."""
    figure = axes.figure
    axes.remove()
    figure.set_size_inches(9, 6)
    panels = figure.subplots(2, 2, sharey=True).flat
    for weight, panel in zip(WEIGHTS, panels, strict=False):
        rows = [row for row in values["weights"] if row["weight"] == weight]
        x = [row["value"] for row in rows]
        for name in TERMS:
            panel.plot(x, [row["terms"][name] for row in rows], "-o", markersize=4, label=name)
        panel.plot(x, [row["accuracies"]["10"] for row in rows], "--", color="0.2", label="accuracy")
        panel.plot(x, [row["sizes"]["size"] for row in rows], ":s", color="0.5", markersize=4, label="module size")
        panel.set_xlabel(f"{weight} (default {WEIGHTS[weight]:g})")
    panel = figure.axes[-1]
    for kind, style in (("MODA", "-o"), ("plain", ":s")):
        rows = [row for row in values["tau"] if row["training"] == kind]
        for number, (name, title) in enumerate((("size", "module size"), ("overlap", "overlap"))):
            panel.plot(
                [row["tau"] for row in rows], [row["sizes"][name] for row in rows], style, color=f"C{number + 3}",
                markersize=4, label=f"{title}, {kind}",
            )  # fmt: skip
        panel.plot(
            [row["tau"] for row in rows], [row["modules"] for row in rows], style, color="0.2", markersize=3,
            label=f"10 modules, {kind}",
        )  # fmt: skip
    panel.set_xlabel("tau (default 0.9)")
    figure.axes[0].set_ylim(0, 1.05)
    terms, sizes = (own.get_legend_handles_labels() for own in (figure.axes[0], panel))
    figure.legend(*terms, loc="outside right upper", fontsize="small", frameon=False)
    figure.legend(*sizes, loc="outside right lower", fontsize="small", frameon=False)
    figure.suptitle(f"{values['data']}, {values['epochs']} epochs", fontsize="medium")
