"""The network and the data that benchmarks use."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import flow
from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.network.network import Network

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes in the order of their labels, where a file does not say them."""


def resnet20() -> Network:
    """Return the ResNet-20 that ships with modhub."""
    return flow.load(read_sample("cifar10-resnet20.onnx")).network


def cifar10(split: str) -> Dataset:
    """Return CIFAR-10's `train` or `test` data: from ``MODHUB_BENCH_DATA``, or else the shipped sample."""
    folder = os.environ.get("MODHUB_BENCH_DATA")
    data = load_dataset(Path(folder) / f"cifar10-{split}.npz" if folder else f"sample:cifar10-{split}")
    return data if data.classes else dataclasses.replace(data, classes=CIFAR10)
