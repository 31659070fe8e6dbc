"""`load_dataset`: from what somebody types to a `Dataset`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modhub.datasets.arrays import read_npz, read_safetensors
from modhub.datasets.images import IMAGE_SUFFIXES, read_folder, read_image_file
from modhub.datasets.remote import HUB_SCHEME, fetch_hub_file
from modhub.datasets.samples import SAMPLE_SCHEME, read_sample_dataset
from modhub.datasets.tables import read_csv, read_parquet
from modhub.errors import InvalidData, NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modhub.datasets.dataset import Dataset

READERS: Mapping[str, Callable[[Path], Dataset]] = {
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".csv": read_csv,
    ".parquet": read_parquet,
    **dict.fromkeys(IMAGE_SUFFIXES, read_image_file),
}


def load_dataset(source: str | os.PathLike[str], *, limit: int | None = None) -> Dataset:
    """Return the data set that a path or address stands for.

    Args:
        source: a folder of class folders of images, or of images without labels; an `.npz` or
            `.safetensors` file with `x`, and perhaps `y` and `classes`; a `.csv` or `.parquet` table with a label
            column; an image, or a mosaic of them; any of these files on the Hub,
            `hf://datasets/OWNER/NAME/FILE`; or `sample:NAME`, which ships with modhub.
        limit: at most this many samples, the first ones of each class.

    Raises:
        UsageError: the limit is not positive, or the source is of no such kind.
        MissingExtra: a package that reads this kind of file is not installed.
        NotFound: there is no such file, folder, sample or data set.
        InvalidData: it cannot be used; names the file and what in it is wrong.
        StorageError: it cannot be read.
        HubError: the Hub cannot be reached.

    >>> load_dataset("sample:cifar10-test", limit=100)
    <Dataset 'cifar10-test': 100 samples of float32 [3, 32, 32], 10 classes>
    """
    text = os.fspath(source)
    if limit is not None and limit < 1:
        raise UsageError(f"limit: load one sample or more, not {limit}")
    try:
        data = read_source(text, limit=limit)
    except InvalidData as error:
        raise (error if error.file else error.in_file(text)) from error.__cause__
    except OSError as error:
        raise StorageError(f"{text}: cannot be read: {error.strerror or error}") from error
    return data if limit is None else data.take(limit)


def read_source(source: str, *, limit: int | None) -> Dataset:
    """Return the data set of a source, by its kind. A reader that saves work by it keeps to `limit`."""
    if source.startswith(SAMPLE_SCHEME):
        return read_sample_dataset(source.removeprefix(SAMPLE_SCHEME))
    path = fetch_hub_file(source) if source.startswith(HUB_SCHEME) else Path(source).expanduser()
    if path.is_dir():
        return read_folder(path, limit=limit)
    if not path.exists():
        raise NotFound(f"{source}: no such file or folder")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(READERS)
        raise UsageError(f"{source}: cannot read {path.suffix or 'such'} files: expected a folder, {kinds}")
    return reader(path)
