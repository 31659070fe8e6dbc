"""The files that ship with modhub, for its demo, its examples and its tests."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from modhub.datasets.images import MOSAIC_SUFFIX, read_mosaic
from modhub.errors import NotFound

if TYPE_CHECKING:
    from modhub.datasets.dataset import Dataset

SAMPLE_SCHEME = "sample:"
MOSAIC_IMAGE_SUFFIX = ".webp"


def read_sample(file: str) -> bytes:
    """Return the bytes of a shipped file, such as `cifar10-resnet20.onnx`.

    Raises:
        NotFound: there is no such file; lists those there are.

    >>> len(read_sample("cifar10-resnet20.onnx"))
    1088642
    """
    found = {entry.name: entry for entry in files("modhub").joinpath("samples").iterdir() if entry.is_file()}
    if file not in found:
        samples = sorted(name for name in found if name.endswith((".onnx", MOSAIC_IMAGE_SUFFIX)))
        raise NotFound(f"no sample {file!r}: there are {', '.join(samples)}")
    return found[file].read_bytes()


def read_sample_dataset(name: str) -> Dataset:
    """Return a shipped data set, such as `cifar10-test`.

    Raises:
        NotFound: there is no such data set.
    """
    image = read_sample(name + MOSAIC_IMAGE_SUFFIX)
    return read_mosaic(image, sidecar=read_sample(name + MOSAIC_SUFFIX), name=name)
