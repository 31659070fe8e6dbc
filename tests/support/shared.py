"""Real trained classifiers too large for the repository, for whoever has them.

`MODHUB_SHARED_DATA` names the folder; without it, `shared/data` beside the repository is tried.
"""

from __future__ import annotations

import functools
import io
import json
import lzma
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modhub.datasets import Dataset
from modhub.network.load import load
from modhub.network.normalise import normalised

if TYPE_CHECKING:
    from modhub.network.network import Array, Network

SAMPLES = 300
TAKE_NORMALISED = ("cifar10-vit-ibp-3-3-8",)

# Read at import, because no test sees the settings of the person who runs it.
SHARED_DATA = Path(os.environ.get("MODHUB_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ABSENT = f"there are no shared models in {SHARED_DATA}: set MODHUB_SHARED_DATA"


def shared_models() -> list[Path]:
    """Return the ONNX files of all shared models; none where the folder is absent."""
    return sorted((SHARED_DATA / "models").glob("*.onnx"))


@functools.cache
def shared_data(model: str) -> Dataset:
    """Return a few hundred real samples of what a shared model was trained for, from the test split.

    There are no street numbers among the shared data, so the model for those gets other images of the same shape.
    """
    kind = model.partition("-")[0]
    read = {"cifar10": _cifar10, "svhn": _cifar10, "clinc": _clinc, "usps": _usps}.get(kind)
    x, y = read() if read else _digits("digits/mnist" if kind == "mnist" else "fashion-mnist/fashion-mnist")
    return Dataset.of(x[:SAMPLES], y=y[:SAMPLES].astype(np.int64), name=kind)


def shared_network(path: Path) -> Network:
    """Return a shared model that takes pixels in [0, 1]; all but one normalise them by themselves."""
    if path.stem not in TAKE_NORMALISED:
        return load(path)
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["input"]
    return normalised(load(path), mean=about["mean"], std=about["std"])


def _cifar10() -> tuple[Array, Array]:
    labels = np.load(SHARED_DATA / "cifar10" / "labels.npz")["test"]
    with Image.open(SHARED_DATA / "cifar10" / "test.webp") as mosaic:
        rows = np.asarray(mosaic.convert("RGB").crop((0, 0, 3200, 32 * (1 + SAMPLES // 100))))
    return rows.reshape(-1, 32, 100, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3), labels


def _digits(name: str) -> tuple[Array, Array]:
    images = lzma.decompress((SHARED_DATA / f"{name}-test-images.npy.xz").read_bytes())
    return np.load(io.BytesIO(images)).reshape(-1, 28, 28), np.load(SHARED_DATA / f"{name}-test-labels.npy")


def _usps() -> tuple[Array, Array]:
    arrays = np.load(SHARED_DATA / "digits" / "usps.npz")
    return arrays["test_images"], arrays["test_labels"]


def _clinc() -> tuple[Array, Array]:
    arrays = np.load(SHARED_DATA / "text" / "clinc-domains.npz")
    order = np.random.default_rng(0).permutation(len(arrays["x_test"]))
    return arrays["x_test"][order], arrays["y_test"][order]
