"""Row F3: all hundred classes of CIFAR-100 as modules, composed again, beside random masks at equal retention.

The parent is ``benchmarks/models/cifar100-resnet20.onnx`` (see `benchmarks.parents`); the data is taken from
``MODHUB_BENCH_DATA``. The recipe is `fast` with its own numbers for a hundred classes, but fewer steps and images than
a person would give it: reduced for two cores. The quick form masks the last block alone.
"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.splitting import accuracies, composed, randomised, scores_of
from modhub import flow
from modhub.datasets import load_dataset
from modhub.decomposers.gradsplitter.distillation import Recipe
from modhub.decomposers.gradsplitter.fast import Trainer
from modhub.decomposers.options import Options, silent
from modhub.engines.runtime import Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from modhub.datasets import Dataset
    from modhub.network.network import Network

PARENT = Path(__file__).parent / "models" / "cifar100-resnet20.onnx"
DATA = "cifar100"
BLOCK, STAGE = "relu_16", "relu_12"
"""Cuts before the last block and before the last stage; the second is the one that ``auto`` takes."""
SHARES = (0.7, 0.5, 0.35)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """How much is spent: on which cuts, with how many images to learn from and to measure on, and how many steps."""

    cuts: tuple[str, ...]
    train: int
    test: int
    steps: int


QUICK = Form(cuts=(BLOCK,), train=6000, test=3000, steps=50)
FULL = Form(cuts=(BLOCK, STAGE), train=10_000, test=10_000, steps=50)


def measure(*, full: bool) -> dict[str, Any]:
    """Return per cut and retention the accuracy of a hundred modules, learned and random, beside their parent's."""
    form, folder = FULL if full else QUICK, os.environ.get("MODHUB_BENCH_DATA")
    sources = [Path(folder or ".") / f"{DATA}-{part}.npz" for part in ("train", "test")]
    if not all(source.is_file() for source in sources):
        return {"missing": f"{DATA}-train.npz and {DATA}-test.npz in MODHUB_BENCH_DATA", "rows": []}
    network = flow.load(PARENT).network
    train, test = (load_dataset(source).fitted(network.input) for source in sources)
    train, test = train.take(form.train), test.take(form.test)
    rows = [row for cut in form.cuts for row in run(network, cut, form, train=train, test=test)]
    return {"train": len(train), "test": len(test), "steps": form.steps, "rows": rows}


def run(network: Network, cut: str, form: Form, *, train: Dataset, test: Dataset) -> list[dict[str, Any]]:
    """Return the rows of one cut."""
    learn, validation = train.split(0.2)
    recipe = Recipe(steps=form.steps, rungs=SHARES)
    started = time.process_time()
    trainer = Trainer.prepare(network, learn, validation, options=Options(cut=cut), recipe=recipe, progress=silent)
    trainer.begin()
    parent, rows, before = Session(network).run(test.x), [], 1.0
    for number, share in enumerate(SHARES, start=1):
        snapshot = trainer.climb(number, before, share)
        seconds = time.process_time() - started
        split = composed(trainer, snapshot, train, validation)
        rows.append(
            {
                "cut": cut,
                "kept": snapshot.share,
                "seconds_cpu": round(seconds, 1),
                "parent": accuracies(parent, parent, test),
                "learned": accuracies(scores_of(split, test), parent, test),
                "random masks": accuracies(scores_of(randomised(split), test), parent, test),
            }
        )
        before = share
    return rows


def draw(values: dict[str, Any], axes: Axes) -> None:
    """Draw accuracy against kernels kept, with the parent's as a line."""
    rows = values["rows"]
    for number, cut in enumerate(dict.fromkeys(row["cut"] for row in rows)):
        own = [row for row in rows if row["cut"] == cut]
        kept = [100 * row["kept"] for row in own]
        for kind, style in (("learned", "o-"), ("random masks", "x--")):
            values_of = [100 * row[kind]["10"] for row in own]
            axes.plot(kept, values_of, style, color=f"C{number}", label=f"{kind}, trunk to {cut}")
    for row in rows[:1]:
        axes.axhline(100 * row["parent"]["10"], color="black", linewidth=1, label="parent")
    axes.set_xlabel("kernels kept behind the trunk, %")
    axes.set_ylabel("test accuracy of all 100 modules, %")
    axes.set_ylim(bottom=0)
    axes.legend()
