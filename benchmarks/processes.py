"""Row S10: the training loop on one process and on two, as `torchrun` starts them, over gloo.

Each process has one thread and the whole batch is that of all together, so the steps are the same steps: what differs
is who computes which rows. Two processes can only be faster where two cores are free; the load of the machine is told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from modhub.datasets import load_dataset
from modhub.engines.model import open_model
from modhub.engines.runtime import Session

NET = """
import torch


def net():
    layers = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(64 * 16, 10))
"""
START = "from modhub.cli import main; main()"
PROCESSES = (1, 2)


def measure(*, full: bool) -> dict[str, Any]:
    """Return seconds of an epoch per number of processes, and how far the models are apart that came out."""
    epochs = 6 if full else 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shape.py").write_text(NET, encoding="utf-8")
        rows = [trained(folder, processes, epochs) for processes in PROCESSES]
        x = load_dataset("sample:cifar10-test").x[:200]
        scores = [Session(open_model(folder / f"out-{p}" / "model.onnx").network).run(x) for p in PROCESSES]
    apart = float(np.abs(scores[1] - scores[0]).max() / np.abs(scores[0]).max())
    return {
        "rows": rows,
        "faster": round(rows[0]["seconds an epoch"] / rows[1]["seconds an epoch"], 2),
        "apart": apart,
        "same answers": float((scores[1].argmax(axis=1) == scores[0].argmax(axis=1)).mean()),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def trained(folder: Path, processes: int, epochs: int) -> dict[str, Any]:
    """Return what training on some processes took and reached; the first epoch, which warms up, is left out."""
    output = folder / f"out-{processes}"
    words = ["train", "shape:net", "--data", "sample:cifar10-train", "-o", str(output), "--epochs", str(epochs)]
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*several, "--no-python", sys.executable, "-c", START, *words, "--seed", "0", "--device", "cpu"]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=folder, env=settings, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"training on {processes} processes failed:\n{done.stderr}")
    history = json.loads((output / "train.json").read_text(encoding="utf-8"))["history"]
    return {
        "processes": processes,
        "seconds an epoch": round(float(np.median([entry["seconds"] for entry in history[1:]])), 3),
        "loss": round(history[-1]["loss"], 5),
        "validation accuracy": history[-1]["accuracy"],
    }
