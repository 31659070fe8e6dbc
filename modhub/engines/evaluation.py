"""What a network is worth on data, and what it costs to run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.datasets.dataset import listed
from modhub.engines.runtime import Session
from modhub.errors import InvalidData
from modhub.metrics import Scored, accuracy, detection, expected_calibration_error
from modhub.network.cost import macs
from modhub.network.onnx_file import to_onnx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.network.network import Network
    from modhub.spec.manifest import Metric

    Floats = npt.NDArray[np.float32]

REPEATS = 15
LATENCY_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The measurements of one network.

    `accuracy` is None for a network with one column. `calibration_error` is the mean over columns of calibrated scores,
    None for raw logits. `latency` is CPU milliseconds per batch of 1 and of 32 on one thread. `scored` are the scores
    themselves, for whoever draws them.
    """

    columns: tuple[str, ...]
    samples: int
    accuracy: Metric | None
    classes: Mapping[str, Mapping[str, Metric]]
    calibration_error: float | None
    parameters: int
    macs: int
    bytes: int
    latency: Mapping[int, float] = field(default_factory=dict)
    scored: Scored | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the measurements as plain values."""
        return {
            "columns": list(self.columns),
            "samples": self.samples,
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
            "classes": {name: {k: m.to_dict() for k, m in found.items()} for name, found in self.classes.items()},
            "calibration_error": self.calibration_error,
            "parameters": self.parameters,
            "macs": self.macs,
            "bytes": self.bytes,
            "latency_ms": {str(batch): value for batch, value in self.latency.items()},
        }


def evaluate_network(
    network: Network, data: Dataset, *, columns: Sequence[str], calibrated: bool, timed: bool = True
) -> Evaluation:
    """Return what a network does on labelled data.

    A network with several columns is judged by its highest score on the samples of its own classes; one with a single
    column is judged as a detector on all samples, against a threshold of zero.

    Args:
        network: what to measure.
        data: labelled data whose classes include the network's.
        columns: the class that each output column scores.
        calibrated: whether scores are calibrated logits.
        timed: whether to measure latency too.

    Raises:
        InvalidData: the data is unlabelled, lacks a class, or does not fit the input.
    """
    data = data.fitted(network.input)
    column_of = columns_of(data, columns)
    scores = Session(network).run(data.x)
    several = len(columns) > 1
    inside = column_of >= 0 if several else np.ones(len(column_of), dtype=np.bool_)
    if not inside.any():
        raise InvalidData(f"no sample belongs to one of the classes {', '.join(columns)}", file=data.name)
    graph, weights = to_onnx(network)
    errors = [expected_calibration_error(scores[:, i], column_of == i) for i in range(len(columns))]
    return Evaluation(
        columns=tuple(columns),
        samples=int(inside.sum()),
        accuracy=accuracy(scores[inside], column_of[inside], split=None) if several else None,
        classes=per_class(scores[inside], column_of[inside], columns),
        calibration_error=float(np.mean(errors)) if calibrated else None,
        parameters=network.parameters,
        macs=macs(network),
        bytes=len(graph) + len(weights),
        latency=measure_latency(network, data) if timed else {},
        scored=Scored(scores=scores, columns=column_of, calibrated=calibrated),
    )


def columns_of(data: Dataset, columns: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the output column of each sample's class, -1 for classes that the network does not score.

    Classes without names are called ``class-0``, ``class-1``, ... as those of a network without names are.

    Raises:
        InvalidData: the data is unlabelled, or lacks one of the classes.
    """
    labels = data.labels
    names = data.classes or tuple(f"class-{row}" for row in range(data.class_count))
    missing = [name for name in columns if name not in names]
    if missing:
        known = (
            listed(names)
            if data.classes
            else f"those of the data, which have no names, only numbers to {len(names) - 1}"
        )
        raise InvalidData(f"the class {missing[0]!r} is not among {known}", where="classes", file=data.name)
    lookup = np.full(len(names), -1, dtype=np.int64)
    for column, name in enumerate(columns):
        lookup[names.index(name)] = column
    return np.asarray(lookup[labels])


def per_class(scores: Floats, column_of: npt.NDArray[np.int64], columns: Sequence[str]) -> dict[str, dict[str, Metric]]:
    """Return precision, recall and F1 per class: of the highest score, or of a single score's sign."""
    if len(columns) == 1:
        return {columns[0]: detection(scores[:, 0], column_of == 0, split=None)}
    said = np.where(scores.argmax(axis=1)[:, None] == np.arange(len(columns)), 1.0, -1.0)
    return {name: detection(said[:, i], column_of == i, split=None) for i, name in enumerate(columns)}


def measure_latency(network: Network, data: Dataset, *, repeats: int = REPEATS) -> dict[int, float]:
    """Return the median CPU milliseconds per batch on one thread, by batch size."""
    session = Session(network)
    result = {}
    for batch in (1, LATENCY_BATCH):
        x = np.resize(data.take(min(batch, len(data))).x, (batch, *data.shape))
        session.run(x)
        times = []
        for _ in range(repeats):
            start = time.process_time()
            session.run(x)
            times.append(time.process_time() - start)
        result[batch] = round(1000 * float(np.median(times)), 4)
    return result
