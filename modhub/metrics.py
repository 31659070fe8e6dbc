"""Numbers about scores: accuracy, precision, recall, F1, calibration; each with its interval.

All functions take plain arrays. Scores are calibrated logits: positive means "this class" with more than even odds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.spec.manifest import Metric
from modhub.spec.ports import Calibration

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Labels = npt.NDArray[np.int64]
    Booleans = npt.NDArray[np.bool_]

Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""

ECE_BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """Scores of labelled samples, for whoever counts more than one number from them.

    Args:
        scores: float ``[n, k]``.
        columns: the column of each sample's class ``[n]``, -1 where no column scores it.
        calibrated: whether scores are calibrated logits, else they are raw.
    """

    scores: Floats
    columns: Labels
    calibrated: bool


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion; ``(0, 1)`` when there is nothing to count."""
    if total == 0:
        return 0.0, 1.0
    share, spread = hits / total, Z95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    # Rounding may leave the proportion itself a hair outside, where it is 0 or 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def proportion(hits: int, total: int, *, split: str | None) -> Metric:
    """Return a proportion as a metric with its 95 % interval."""
    low, high = wilson_interval(hits, total)
    return Metric(value=hits / total if total else 0.0, split=split, n=total, low=low, high=high)


def accuracy(scores: Floats, labels: Labels, *, split: str | None) -> Metric:
    """Return how often the highest of the scores ``[n, k]`` is at the label's column."""
    hits = int((scores.argmax(axis=1) == labels).sum())
    return proportion(hits, len(labels), split=split)


def detection(score: Floats, is_class: Booleans, *, split: str | None) -> dict[str, Metric]:
    """Return precision, recall, F1 and balanced accuracy of one score ``[n]`` against a threshold of zero.

    The interval of F1 follows from those of precision and recall at equal ends.
    """
    said = score > 0
    true_positives = int((said & is_class).sum())
    precision = proportion(true_positives, int(said.sum()), split=split)
    recall = proportion(true_positives, int(is_class.sum()), split=split)
    specificity = int((~said & ~is_class).sum()) / max(1, int((~is_class).sum()))
    n = len(score)
    return {
        "precision": precision,
        "recall": recall,
        "f1": Metric(
            value=_f1(precision.value, recall.value),
            split=split,
            n=n,
            low=_f1(precision.low or 0.0, recall.low or 0.0),
            high=_f1(precision.high or 0.0, recall.high or 0.0),
        ),
        "balanced_accuracy": Metric(value=(recall.value + specificity) / 2, split=split, n=n),
    }


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def sigmoid(scores: Floats) -> npt.NDArray[np.float64]:
    """Return the probabilities that logits stand for, without overflow."""
    clipped = np.clip(scores.astype(np.float64), -500, 500)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def answers(scores: Floats, *, least: float | None = None) -> Labels:
    """Return the column of each sample's highest score, -1 where that stands for less than a probability.

    >>> answers(np.array([[2.0, -1.0], [-3.0, -2.0]]), least=0.5).tolist()
    [0, -1]
    """
    found = scores.argmax(axis=1)
    return found if least is None else np.where(sigmoid(scores.max(axis=1)) >= least, found, -1)


def expected_calibration_error(score: Floats, is_class: Booleans) -> float:
    """Return the mean gap between stated probability and observed share, over equal-width bins, from 0 to 1."""
    probability = sigmoid(score)
    bins = np.minimum((probability * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    stated = np.bincount(bins, weights=probability, minlength=ECE_BINS)
    observed = np.bincount(bins, weights=is_class.astype(np.float64), minlength=ECE_BINS)
    return float(np.abs(stated - observed).sum() / max(1, counts.sum()))


def fit_platt(score: Floats, is_class: Booleans, *, data: str, steps: int = 60) -> Calibration:
    """Return the scale and offset that turn a raw score into a calibrated logit (Platt 1999).

    Fitted by Newton's method on the log-likelihood with Platt's smoothed targets. The scale is kept positive: a
    calibration may not turn a detector round.

    Args:
        score: raw scores ``[n]`` on data that the module was not trained on.
        is_class: which of them belong to the class.
        data: what the data was, for the manifest.
        steps: most Newton steps.
    """
    x = score.astype(np.float64)
    spread = max(float(x.std()), 1e-9)
    positives, negatives = int(is_class.sum()), int((~is_class).sum())
    target = np.where(is_class, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([x / spread, np.ones_like(x)], axis=1)
    weights = np.array([1.0, math.log((positives + 1) / (negatives + 1))])
    for _ in range(steps):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (probability - target)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        weights = weights - step
        if float(np.abs(step).max()) < 1e-9:
            break
    scale, offset = max(float(weights[0]) / spread, 1e-6), float(weights[1])
    calibrated = np.float32(scale) * x + np.float32(offset)
    error = expected_calibration_error(calibrated, is_class)
    return Calibration(
        method="platt", scale=float(np.float32(scale)), offset=float(np.float32(offset)), ece=round(error, 6), data=data
    )
