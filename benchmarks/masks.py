"""Weight masks (Kingetsu et al.): density against accuracy, union against classes, bytes, overlap, and controls.

The ResNet-20 that ships with modhub is always measured. Further parents are taken from ``MODHUB_BENCH_DATA`` where it
holds ``NAME.onnx`` and the data of `SUBJECTS`; what is missing is named in the result.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.data import cifar10, resnet20
from modhub import flow
from modhub.composer.compose import compose
from modhub.composer.part import Part
from modhub.datasets import load_dataset
from modhub.decomposers.features import features
from modhub.decomposers.options import Options, silent
from modhub.decomposers.outcome import choose
from modhub.decomposers.weightmask.masks import density, overlap, union
from modhub.decomposers.weightmask.recipe import FAST, KAIMING, MAGNITUDE
from modhub.decomposers.weightmask.scores import Scores, first_scores
from modhub.decomposers.weightmask.system import outcome
from modhub.decomposers.weightmask.training import Trainer
from modhub.network.onnx_file import to_onnx
from modhub.package.pack import Release, pack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from modhub.datasets import Dataset
    from modhub.decomposers.features import Features
    from modhub.decomposers.weightmask.masks import Masks
    from modhub.decomposers.weightmask.recipe import Recipe
    from modhub.decomposers.weightmask.training import Rung
    from modhub.network.network import Network

SETS = 20
"""Random class sets per size."""
SIZES = (2, 3, 5, 10)
TICKS = (3, 5, 10, 20, 30, 50)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A parent, and the data that it is split and measured on: files ``DATA-train.npz`` and ``DATA-test.npz``.

    `mean` and `deviation` are of inputs that the network wants normalised.
    """

    name: str
    data: str
    samples: int = 10_000
    steps: int = 200
    batch: int = 128
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


RESNET = "cifar10-resnet20"
SUBJECTS = (
    *(Subject(name=f"mnist-mlp{i}-panrajan", data="mnist") for i in (1, 4)),
    *(Subject(name=f"fashion-mnist-mlp{i}-panrajan", data="fashion-mnist") for i in (1, 4)),
    Subject(name="clinc-domains-lstm1", data="clinc-domains", steps=60),
    Subject(name="clinc-domains-gru1", data="clinc-domains", steps=60),
    Subject(
        name="cifar10-vit-ibp-3-3-8",
        data="cifar10",
        steps=60,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2023, 0.1994, 0.201),
    ),
    Subject(name=RESNET, data="cifar10", steps=60, batch=64),
)
"""Steps a density are as few as half an hour on one core allows."""


def measure(*, full: bool) -> dict[str, Any]:
    """Return everything that is measured of each parent there is."""
    if not full:
        quick = dataclasses.replace(FAST, ladder=(0.5,), steps=25, batch=32)
        train, test = cifar10("train").take(1500), cifar10("test").take(400)
        return {"subjects": [subject(RESNET, resnet20(), train, test, recipe=quick, keep=0.3)], "missing": []}
    found, missing = [], []
    for entry in SUBJECTS:
        parts = _files(entry)
        if parts is None:
            missing.append(entry.name)
            continue
        print(f"  {entry.name} ... {time.process_time():.0f} s so far", file=sys.stderr, flush=True)
        recipe = dataclasses.replace(FAST, steps=entry.steps, batch=entry.batch)
        found.append(subject(entry.name, *parts, recipe=recipe, keep=0.03))
    return {"subjects": found, "missing": missing}


def _files(entry: Subject) -> tuple[Network, Dataset, Dataset] | None:
    """Return a parent with its data, None where a file is missing."""
    folder = Path(os.environ.get("MODHUB_BENCH_DATA", "."))
    model = folder / f"{entry.name}.onnx"
    data = [folder / f"{entry.data}-{split}.npz" for split in ("train", "test")]
    if entry.name == RESNET:
        return resnet20(), cifar10("train").take(entry.samples), cifar10("test")
    if not all(path.is_file() for path in (model, *data)):
        return None
    train, test = (_normalised(load_dataset(path).take(entry.samples), entry) for path in data)
    return flow.load(model).network, train, test


def _normalised(data: Dataset, entry: Subject) -> Dataset:
    if not entry.mean:
        return data
    mean, deviation = (np.array(own, dtype=np.float32).reshape(-1, 1, 1) for own in (entry.mean, entry.deviation))
    return dataclasses.replace(data, values=(data.x - mean) / deviation)


def subject(
    name: str, network: Network, train: Dataset, test: Dataset, *, recipe: Recipe, keep: float
) -> dict[str, Any]:
    """Return what one parent's modules are worth at every density, and what the chosen ones weigh."""
    learn, validation = train.split(0.1)
    started = time.process_time()
    options = Options(keep=keep, max_loss=100.0)
    trainer = Trainer.prepare(network, learn, validation, options=options, recipe=recipe, progress=silent)
    unseen = features(network, test, cut=trainer.cut, rows=trainer.rows, flip=False)
    starts = {init: _start(trainer, init) for init in (MAGNITUDE, KAIMING)}
    history = trainer.search()
    seconds = time.process_time() - started
    chosen = choose(history, max_loss=1.0, parent=trainer.parent_accuracy)
    split = outcome(trainer, chosen, history, train=learn, validation=validation)
    return {
        "name": name,
        "train": len(learn),
        "test": len(test),
        "weights": trainer.size,
        "trunk": trainer.cut,
        "seconds_cpu": round(seconds, 1),
        "parent": round(unseen.accuracy(unseen.logits), 4),
        "rungs": [_rung(trainer, rung, unseen, starts) for rung in history],
        "chosen": round(chosen.share, 4),
        "sets": [_sets(trainer, chosen.masks, unseen, size) for size in SIZES if size <= len(trainer.rows)],
        "bytes": _bytes(split),
        "overlap": [[round(value, 3) for value in row] for row in overlap(chosen.masks).tolist()],
    }


def _start(trainer: Trainer, init: str) -> Scores:
    values = first_scores(trainer.network, trainer.names, modules=len(trainer.rows), init=init, seed=1)
    return Scores(values, recipe=trainer.recipe)


def _accuracies(trainer: Trainer, masks: Masks, unseen: Features) -> dict[str, float]:
    """Return the test accuracy of modules side by side and of their union, of raw scores."""
    parallel = torch.from_numpy(trainer.raw_scores(unseen.x, masks))
    together = torch.from_numpy(trainer.union_scores(unseen.x, masks))
    return {"parallel": round(unseen.accuracy(parallel), 4), "union": round(unseen.accuracy(together), 4)}


def _rung(trainer: Trainer, rung: Rung, unseen: Features, starts: dict[str, Scores]) -> dict[str, Any]:
    trainer.heads.parameters = [own.clone().requires_grad_() for own in rung.heads]
    return {
        "density": round(rung.share, 4),
        **_accuracies(trainer, rung.masks, unseen),
        **{name: round(value, 4) for name, value in rung.sharing().items()},
        "magnitude alone": _accuracies(trainer, starts[MAGNITUDE].masks(rung.share), unseen)["parallel"],
        "random": _accuracies(trainer, starts[KAIMING].masks(rung.share), unseen)["parallel"],
    }


def _sets(trainer: Trainer, masks: Masks, unseen: Features, size: int) -> dict[str, Any]:
    """Return the mean over random sets of classes: of accuracies, and of the union's share of the weights."""
    random, count = np.random.default_rng(0), len(trainer.rows)
    raw, parent = trainer.raw_scores(unseen.x, masks), unseen.logits.numpy()
    found = []
    for _ in range(SETS if size < count else 1):
        members = sorted(random.choice(count, size, replace=False).tolist())
        joined = trainer.union_scores(unseen.x, masks, members)
        right = [_among(scores, members, unseen) for scores in (parent, raw, joined)]
        found.append([*right, density(union(masks, torch.tensor(members)))])
    names = ("parent", "parallel", "union", "union density")
    return {
        "classes": size,
        **{name: round(float(v), 4) for name, v in zip(names, np.mean(found, axis=0), strict=True)},
    }


def _among(scores: np.ndarray[Any, Any], members: list[int], unseen: Features) -> float:
    inside = np.isin(unseen.columns, members)
    return float((np.array(members)[scores[inside][:, members].argmax(axis=1)] == unseen.columns[inside]).mean())


def _bytes(split: Any) -> dict[str, int]:
    """Return the bytes of collections and composites of all modules, and of the parent."""
    parent = sum(len(part) for part in to_onnx(split.parent))
    found = {"one parent": parent, "a dense copy each": len(split.modules) * parent}
    for form in ("delta", "values"):
        base, *modules = pack(split, Release(forms=(form,)))
        weights = [data for package in (base, *modules) for name, data in package.files.items() if _is_weights(name)]
        found[f"form {form}"] = sum(map(len, weights))
        if form == "delta":
            parts = [Part(reference=module.name, package=module, base=base) for module in modules]
    for strategy, masks in (("trunk", "materialised"), ("trunk", "packed"), ("union", "packed")):
        found[f"composite {strategy}, {masks}"] = compose(parts, strategy=strategy, masks=masks).package.size
    return found


def _is_weights(name: str) -> bool:
    """Tell whether a file is needed to run a module: not the card, and not the manifest."""
    return name.endswith((".safetensors", ".onnx", "sites.json"))


def draw(values: dict[str, Any], axes: Axes) -> None:
    """Draw accuracy against density, the union against the number of classes, and the overlap of the first modules."""
    figure: Any = axes.figure
    axes.remove()
    figure.set_size_inches(12, 5)
    ladder, growth, heat = figure.subplots(1, 3)
    for number, row in enumerate(values["subjects"]):
        colour = f"C{number % 10}"
        shares = [100 * rung["density"] for rung in row["rungs"]]
        best = [100 * (max(rung["parallel"], rung["union"]) - row["parent"]) for rung in row["rungs"]]
        ladder.plot(shares, best, "o-", color=colour, label=row["name"])
        control = [100 * (rung["magnitude alone"] - row["parent"]) for rung in row["rungs"]]
        ladder.plot(shares, control, ":", color=colour)
        classes = [own["classes"] for own in row["sets"]]
        growth.plot(classes, [100 * own["union density"] for own in row["sets"]], "o-", color=colour)
        growth.axhline(100 * row["chosen"], linestyle=":", color=colour)
    ladder.set(title="dotted: untrained", xlabel="weights that a module keeps, %", ylabel="points against the parent")
    ladder.set(xscale="log", ylim=(-30, 3))
    ladder.set_xticks(TICKS, [f"{share:g}" for share in TICKS], minor=False)
    ladder.set_xticks([], minor=True)
    growth.set(title="dotted: one module", xlabel="classes", ylabel="weights of the union, %", ylim=(0, None))
    shown = heat.imshow(values["subjects"][0]["overlap"], vmin=0, vmax=1)
    heat.set(title=f"Jaccard index, {values['subjects'][0]['name']}", xlabel="module", ylabel="module")
    figure.colorbar(shown, ax=heat, shrink=0.7)
    figure.legend(*ladder.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
