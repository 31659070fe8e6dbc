"""From a factory or a model and labelled data to a trained network and a report."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from modhub import fsops
from modhub.engines.model import Model
from modhub.engines.runtime import Session
from modhub.errors import InvalidData
from modhub.metrics import accuracy
from modhub.network.cost import macs
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.training.loop import Trainer, closing, need_training
from modhub.training.source import check_output, network_of, normalised, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.network.network import Network
    from modhub.training.options import Options

    Progress = Callable[[Mapping[str, Any]], None]

GRAPH_FILE, REPORT_FILE = "model.onnx", "train.json"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained classifier: the model, and everything seen on the way as plain values."""

    model: Model
    report: Mapping[str, Any]


def train(
    source: str | Path | torch.nn.Module | Model | Network,
    data: Dataset,
    *,
    folder: Path,
    options: Options,
    validation: Dataset | None = None,
    weights: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda _: None,
) -> Trained:
    """Return a classifier trained on labelled data, after writing it; see `modhub.flow.train`."""
    need_training()
    learn, held_out = data.split(seed=options.seed) if validation is None else (data, validation)
    _check_labels(learn, held_out)
    found = opened(source, weights=weights, seed=options.seed)
    module = found.module
    if options.normalise and found.network is None:
        module = normalised(module, learn)
    check_output(module, learn)
    fsops.make_folder(folder)
    with closing(
        Trainer(module=module, train=learn, validation=held_out, folder=folder, options=options, progress=progress)
    ) as trainer:
        trainer.fit(resume=resume)
        network = network_of(trainer.finish(), found.network, learn)
        report = _report(trainer, network, name=str(source) if isinstance(source, str) else type(module).__name__)
        columns = learn.classes or ()
        fits = len(columns) == int(network.output_shape[-1])
        model = Model.of(network, columns=columns if fits else ())
        if trainer.accelerator.is_main_process:
            write(folder, model, report)
        trainer.accelerator.wait_for_everyone()
    return Trained(model=model, report=report)


def write(folder: Path, model: Model, report: Mapping[str, Any]) -> None:
    """Write the model and the report beside the checkpoints.

    Raises:
        StorageError: the disk refuses.
    """
    graph, arrays = to_onnx(model.network)
    # The weights first: a graph without its weights would look finished.
    fsops.replace_file(folder / WEIGHTS_FILE, arrays)
    fsops.replace_file(folder / GRAPH_FILE, graph)
    fsops.replace_file(folder / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())


def is_first_process() -> bool:
    """Tell whether this is the process that writes, before any of them knows of the others."""
    return os.environ.get("RANK", "0") == "0"


def _check_labels(train: Dataset, validation: Dataset) -> None:
    for data in (train, validation):
        if data.y is None:
            raise InvalidData("the data has no labels", where="y", file=data.name)
    if validation.shape != train.shape or validation.dtype != train.dtype:
        problem = f"a sample has shape {list(validation.shape)}, in the training data {list(train.shape)}"
        raise InvalidData(problem, where="x", file=validation.name)
    if train.classes is not None and validation.classes is not None and train.classes != validation.classes:
        raise InvalidData("the classes are not those of the training data", where="classes", file=validation.name)


def _report(trainer: Trainer, network: Network, *, name: str) -> dict[str, Any]:
    held_out = trainer.validation
    found = accuracy(Session(network).run(held_out.x), held_out.labels, split="validation")
    return {
        "source": name,
        "options": trainer.options.to_dict(),
        "classes": list(trainer.train.classes or ()),
        "data": {"name": trainer.train.name, "samples": len(trainer.train), "sha256": trainer.train.sha256},
        "validation": {"name": held_out.name, "samples": len(held_out), "sha256": held_out.sha256},
        "processes": trainer.accelerator.num_processes,
        "device": trainer.accelerator.device.type,
        "torch": torch.__version__,
        "accuracy": found.to_dict(),
        "best_accuracy": trainer.best,
        "parameters": network.parameters,
        "macs": macs(network),
        "seconds": round(sum(float(entry["seconds"]) for entry in trainer.history), 3),
        "history": [dict(entry) for entry in trainer.history],
    }
