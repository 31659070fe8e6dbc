"""A few samples with what was said of them, where samples are images."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.metrics import sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.metrics import Scored

MOST = 10
"""Samples of each sort."""
LARGEST = 96
"""Pixels of a side; larger images are made smaller."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image as a data address, its class, the class with the highest score, and the probability that score states.

    The probability is None where scores are raw.
    """

    image: str
    actual: str
    said: str
    probability: float | None


def is_images(data: Dataset) -> bool:
    """Tell whether samples are images of one or three channels."""
    return len(data.shape) == 3 and data.shape[0] in (1, 3) and min(data.shape[1:]) > 1 and data.dtype != "int64"


def first_of_each(data: Dataset, scored: Scored, classes: Sequence[str]) -> list[Sample]:
    """Return the first sample of each of the first classes; none where samples are no images."""
    found = [np.flatnonzero(scored.columns == column)[:1] for column in range(min(len(classes), MOST))]
    return samples_at(np.concatenate(found), data, scored, classes)


def most_wrong(data: Dataset, scored: Scored, classes: Sequence[str]) -> list[Sample]:
    """Return the samples that got the wrong class with the most confidence; none where samples are no images."""
    said = scored.scores.argmax(axis=1)
    wrong = np.flatnonzero((scored.columns >= 0) & (said != scored.columns))
    order = np.argsort(-scored.scores[wrong, said[wrong]], kind="stable")
    return samples_at(wrong[order[:MOST]], data, scored, classes)


def samples_at(rows: npt.NDArray[np.int64], data: Dataset, scored: Scored, classes: Sequence[str]) -> list[Sample]:
    """Return some samples; none where they are no images or the scores are those of other data."""
    if not is_images(data) or len(data) != len(scored.columns):
        return []
    found = []
    for row in rows.tolist():
        column = int(scored.scores[row].argmax())
        stated = float(sigmoid(scored.scores[row, column : column + 1])[0]) if scored.calibrated else None
        found.append(
            Sample(
                image=data_address(np.asarray(data.values[row])),
                actual=classes[scored.columns[row]],
                said=classes[column],
                probability=stated,
            )
        )
    return found


def data_address(values: npt.NDArray[np.generic]) -> str:
    """Return an image ``[channels, height, width]`` as a PNG in a data address; floats are stretched to all shades."""
    from PIL import Image

    pixels = values if values.dtype == np.uint8 else _stretched(values.astype(np.float64))
    picture = Image.fromarray(
        np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., 0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    )
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _stretched(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if 0 <= low <= high <= 1:
        low, high = 0.0, 1.0
    return np.rint(255 * (values - low) / max(high - low, 1e-9)).astype(np.uint8)
