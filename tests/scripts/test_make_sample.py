from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from modhub.datasets import load_dataset
from scripts.make_sample import SAMPLES, SOURCE_COLUMNS, TILE, first_of_each_class, make_sample

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CIFAR-10 in the layout of the whole one: the test images that ship."""
    folder = tmp_path_factory.mktemp("cifar10")
    data = load_dataset("sample:cifar10-test")
    rows = len(data) // SOURCE_COLUMNS
    tiles = data.values.reshape(rows, SOURCE_COLUMNS, 3, TILE, TILE).transpose(0, 3, 1, 4, 2)
    pixels = tiles.reshape(rows * TILE, SOURCE_COLUMNS * TILE, 3)
    for name in ("train-1", "test"):
        Image.fromarray(pixels).save(folder / f"{name}.webp", lossless=True, quality=0)
    labels = data.labels.astype(np.uint8)
    np.savez(folder / "labels.npz", train=labels, test=labels, names=np.array(data.classes))
    return folder


def test_the_tests_own_sample_comes_out_of_the_script(cifar10: Path, tmp_path: Path, data_folder: Path) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "cifar10-tiny")
    size = make_sample(sample, source=cifar10, root=tmp_path)
    made = tmp_path / sample.folder / "cifar10-tiny.webp"
    assert made.stat().st_size == size
    assert load_dataset(made).sha256 == load_dataset(data_folder / "cifar10-tiny.webp").sha256
    assert made.with_suffix(".json").read_bytes() == (data_folder / "cifar10-tiny.json").read_bytes()


def test_the_first_of_each_class_stay_in_order() -> None:
    labels = np.array([1, 0, 1, 1, 0, 2])
    assert first_of_each_class(labels, count=2).tolist() == [0, 1, 2, 4, 5]
