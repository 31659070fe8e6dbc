"""Cut the CIFAR-10 samples that modhub ships, and the smaller one of its tests.

    python scripts/make_sample.py CIFAR10_FOLDER

CIFAR10_FOLDER holds `train-1.webp` and `test.webp`, each a lossless mosaic of 10,000 tiles of
32x32 pixels, 100 a row in the original order, and `labels.npz` with the labels of either split
(`train`, `test`) and the class names (`names`).

The first images of each class are taken, in their original order, so anybody who has CIFAR-10 can
check the result. Written are, for each sample, one lossless WebP mosaic and a JSON sidecar which
`modhub.load_dataset` reads.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modhub.datasets import MOSAIC_FORMAT, Dataset

if TYPE_CHECKING:
    import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
TILE = 32
SOURCE_COLUMNS = 100
COLUMNS = 50
CITATION = (
    "Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images. "
    "Technical report, University of Toronto, 2009."
)
LICENSE_REMARK = "CIFAR-10 names no licence; its authors ask for the citation above. Labels and pixels are unchanged."


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample to cut: the first `per_class` images of each class of one mosaic."""

    name: str
    folder: str
    mosaic: str
    split: str
    per_class: int


SAMPLES = (
    Sample(name="cifar10-train", folder="modhub/samples", mosaic="train-1", split="train", per_class=200),
    Sample(name="cifar10-test", folder="modhub/samples", mosaic="test", split="test", per_class=100),
    Sample(name="cifar10-tiny", folder="tests/data", mosaic="test", split="test", per_class=6),
)


def read_tiles(path: Path) -> npt.NDArray[np.uint8]:
    """Return the tiles of a mosaic as `[n, 32, 32, 3]`."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    rows = pixels.shape[0] // TILE
    grid = pixels.reshape(rows, TILE, SOURCE_COLUMNS, TILE, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(-1, TILE, TILE, 3)


def join_tiles(tiles: npt.NDArray[np.uint8]) -> Image.Image:
    """Return the mosaic of `[n, 32, 32, 3]` tiles, `COLUMNS` a row, the last row filled up with black."""
    rows = -(-len(tiles) // COLUMNS)
    grid = np.zeros((rows * COLUMNS, TILE, TILE, 3), np.uint8)
    grid[: len(tiles)] = tiles
    pixels = grid.reshape(rows, COLUMNS, TILE, TILE, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(pixels.reshape(rows * TILE, COLUMNS * TILE, 3))


def first_of_each_class(labels: npt.NDArray[np.int64], *, count: int) -> npt.NDArray[np.int64]:
    """Return the positions of the first `count` samples of each class, in their original order."""
    firsts = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(firsts))


def describe(sample: Sample, data: Dataset) -> str:
    """Return the JSON sidecar of a sample."""
    assert data.y is not None, "a sample has labels"
    document = {
        "format": MOSAIC_FORMAT,
        "tile": [TILE, TILE],
        "columns": COLUMNS,
        "classes": data.classes,
        "sha256": data.sha256,
        "source": f"CIFAR-10, {sample.split} split: the first {sample.per_class} images of each class, "
        f"in the original order of the first 10,000",
        "citation": CITATION,
        "license": LICENSE_REMARK,
    }
    head = json.dumps(document, indent=2).removesuffix("\n}")
    # One label a line would make the file thousands of lines long.
    return f'{head},\n  "labels": {json.dumps(data.y.tolist(), separators=(",", ":"))}\n}}\n'


def make_sample(sample: Sample, *, source: Path, root: Path) -> int:
    """Write one sample's mosaic and sidecar into its folder under `root`; return the mosaic's size in bytes."""
    with np.load(source / "labels.npz") as archive:
        labels = archive[sample.split].astype(np.int64)
        names = tuple(str(name) for name in archive["names"])
    tiles = read_tiles(source / f"{sample.mosaic}.webp")
    chosen = first_of_each_class(labels[: len(tiles)], count=sample.per_class)
    data = Dataset.of(tiles[chosen], y=labels[chosen], classes=names, name=sample.name)
    target = root / sample.folder
    target.mkdir(parents=True, exist_ok=True)
    image = target / f"{sample.name}.webp"
    join_tiles(tiles[chosen]).save(image, lossless=True, quality=100, method=6, exact=True)
    (target / f"{sample.name}.json").write_text(describe(sample, data), encoding="utf-8")
    return image.stat().st_size


def main() -> None:
    """Cut every sample."""
    parser = argparse.ArgumentParser(description="Cut the CIFAR-10 samples that modhub ships.")
    parser.add_argument("source", type=Path, help="folder of CIFAR-10 mosaics and labels.npz")
    parser.add_argument("--root", type=Path, default=ROOT, help="write below this folder instead of the repository")
    arguments = parser.parse_args()
    for sample in SAMPLES:
        size = make_sample(sample, source=arguments.source, root=arguments.root)
        print(f"{sample.name}: {size:,} bytes")


if __name__ == "__main__":
    main()
