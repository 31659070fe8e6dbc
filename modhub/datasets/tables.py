"""Data sets from tables: `.csv`, and `.parquet` with numbers or, as on the Hub, with images.

The label column is called `label`, or else is the last one. Every other column is a feature.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.datasets.arrays import check_size
from modhub.datasets.dataset import Dataset, listed
from modhub.datasets.images import decode_image, stack_images
from modhub.errors import InvalidData, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modhub.datasets.arrange import Array

LABEL_COLUMN = "label"


def read_csv(path: Path) -> Dataset:
    """Return the data set of a comma-separated table of numbers and a label column.

    A first row without a number is the header. Labels that are whole numbers are class indices; others are class names.

    Raises:
        InvalidData: a feature is no number, rows differ in length, or there is nothing to learn from.
    """
    check_size(path.stat().st_size)
    rows = read_rows(path)
    header = header_of(rows)
    body = rows[1:] if header else rows
    width = len(rows[0][1])
    position = header.index(LABEL_COLUMN) if LABEL_COLUMN in header else width - 1
    features = np.empty((len(body), width - 1), np.float32)
    for index, (line, cells) in enumerate(body):
        if len(cells) != width:
            raise InvalidData(f"{len(cells)} cells, expected {width}", where=f"line {line}")
        features[index] = [
            parse_number(cell, where=f"line {line}, {column_name(header, column)}")
            for column, cell in enumerate(cells)
            if column != position
        ]
    return Dataset.of(features, y=parse_labels([cells[position] for _, cells in body]), name=path.stem)


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, each with its line number.

    Raises:
        InvalidData: the file is not UTF-8, not CSV or has no row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"not a readable .csv file: {error}") from error
    if not rows:
        raise InvalidData("the table is empty")
    return rows


def header_of(rows: Sequence[tuple[int, list[str]]]) -> list[str]:
    """Return the cells of the first row where none is a number, or else nothing."""
    first = rows[0][1]
    return [] if any(is_number(cell) for cell in first) else first


def column_name(header: Sequence[str], column: int) -> str:
    """Return what errors call a column."""
    return f"column {header[column]!r}" if header else f"column {column + 1}"


def is_number(cell: str) -> bool:
    """Say whether a cell reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def parse_number(cell: str, *, where: str) -> float:
    """Return the number in a cell.

    Raises:
        InvalidData: it is none.
    """
    if not is_number(cell):
        raise InvalidData(f"{cell!r} is no number", where=where)
    return float(cell)


def parse_labels(cells: Sequence[str]) -> Array:
    """Return whole numbers as int64, where all labels are, or else names.

    Raises:
        InvalidData: a number among them is not whole.
    """
    if all(cell.isdecimal() for cell in cells):
        return np.array([int(cell) for cell in cells], np.int64)
    for cell in cells:
        if is_number(cell) and not cell.lstrip("+-").isdecimal():
            raise InvalidData(f"{cell!r} is no class: expected a whole number or a name", where="label column")
    return np.array(cells, np.str_)


def read_parquet(path: Path) -> Dataset:
    """Return the data set of a Parquet table: a label column, and columns of numbers or one of images.

    Images are encoded files in a `bytes` field, the way the Hub keeps them; class names are taken from its
    metadata.

    Raises:
        MissingExtra: pyarrow is not installed.
        InvalidData: it is no Parquet file, too large, or a column cannot be used.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", extra="parquet", purpose="reading .parquet files") from error
    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
            check_size(sum(group.total_byte_size for group in groups))
            table = file.read()
    except pa.ArrowException as error:
        raise InvalidData(f"not a readable .parquet file: {error}") from error
    names = table.column_names
    if not names or not table.num_rows:
        raise InvalidData("the table is empty")
    label = LABEL_COLUMN if LABEL_COLUMN in names else names[-1]
    features = {name: table.column(name) for name in names if name != label}
    labels = column_array(table.column(label), name=label)
    classes = hub_class_names(table.schema.metadata, column=label)
    return Dataset.of(feature_array(features), y=labels, classes=classes, name=path.stem)


def feature_array(columns: dict[str, Any]) -> Array:
    """Return the samples that feature columns hold: one of images, or any number of numbers.

    Raises:
        InvalidData: there is none, or one holds neither.
    """
    for name, column in columns.items():
        if str(column.type).startswith("struct<bytes: binary"):
            return decode_column(column.to_pylist(), name=name)
    if not columns:
        raise InvalidData("there is only one column, expected features and labels")
    arrays = [column_array(column, name=name) for name, column in columns.items()]
    for name, array in zip(columns, arrays, strict=True):
        if array.dtype.kind not in "fiub":
            raise InvalidData(f"holds {array.dtype}, expected numbers", where=f"column {name!r}")
    return np.stack([array.astype(np.float32) for array in arrays], axis=1)


def column_array(column: Any, *, name: str) -> Array:
    """Return a column as an array.

    Raises:
        InvalidData: a value is missing, or the column holds lists or structures.
    """
    if column.null_count:
        raise InvalidData(f"{column.null_count} values are missing", where=f"column {name!r}")
    array: Array = column.to_numpy()
    if array.dtype != np.object_:
        return array
    values = column.to_pylist()
    if not all(isinstance(value, str) for value in values):
        raise InvalidData(f"cannot use a column of {column.type}", where=f"column {name!r}")
    return np.array(values, np.str_)


def decode_column(cells: Sequence[dict[str, Any] | None], *, name: str) -> Array:
    """Return the images in a column as NCHW.

    Raises:
        InvalidData: one is missing, unreadable or of another size.
    """
    images: list[Array] = []
    for row, cell in enumerate(cells):
        where = f"column {name!r}, row {row}"
        if not cell or not cell["bytes"]:
            raise InvalidData("the image is missing", where=where)
        try:
            images.append(decode_image(cell["bytes"]))
        except InvalidData as error:
            raise error.under(where) from error.__cause__
        if images[-1].shape[:2] != images[0].shape[:2]:
            raise InvalidData("the image differs in size from the first", where=where)
    return stack_images(images)


def hub_class_names(metadata: dict[bytes, bytes] | None, *, column: str) -> list[str] | None:
    """Return the class names that the Hub's `datasets` library writes into a table, if it did.

    Raises:
        InvalidData: they are there, but are no list of names.
    """
    if not metadata or b"huggingface" not in metadata:
        return None
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column].get("names")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(f"the Hub's metadata cannot be read: {error}", where="huggingface") from error
    if not isinstance(names, list | None):
        raise InvalidData(f"expected a list of names, got {listed([repr(names)])}", where="huggingface")
    return names
