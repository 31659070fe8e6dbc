"""What scores say about samples whose class is known: confusions, and whether stated probabilities are true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.metrics import ECE_BINS, Scored, sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Confusion:
    """How many samples of each class (rows) got their highest score from each column, ``[classes, classes]``."""

    classes: tuple[str, ...]
    counts: Counts

    @property
    def shares(self) -> Floats:
        """The rows as shares, from 0 to 1; not a number where a class has no samples."""
        totals = self.counts.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(self.counts, totals, out=np.full(self.counts.shape, np.nan), where=totals > 0))

    @property
    def accuracy(self) -> float:
        """The share of the samples on the diagonal."""
        return float(np.trace(self.counts) / max(1, self.counts.sum()))

    def worst(self, most: int = 5) -> list[tuple[str, str, int]]:
        """Return the most frequent confusions: true class, class taken for it, how often."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        rows, columns = np.unravel_index(order, wrong.shape)
        found = zip(rows.tolist(), columns.tolist(), strict=True)
        return [(self.classes[i], self.classes[j], int(wrong[i, j])) for i, j in found if wrong[i, j]]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {"classes": list(self.classes), "counts": self.counts.tolist()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Stated probability against observed share, in bins of equal width.

    Args:
        counts: samples per bin; a score of every module counts once.
        stated: mean stated probability per bin, not a number in empty bins.
        observed: share that was right per bin, not a number in empty bins.
        what: which probabilities these are.
    """

    counts: Counts
    stated: Floats
    observed: Floats
    what: str

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between stated and observed, from 0 to 1."""
        full = self.counts > 0
        gaps = np.abs(self.stated - self.observed)[full] * self.counts[full]
        return float(gaps.sum() / max(1, self.counts.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values; empty bins have none."""
        bins = [
            {"samples": int(count), "stated": round(float(stated), 6), "observed": round(float(observed), 6)}
            for count, stated, observed in zip(self.counts, self.stated, self.observed, strict=True)
            if count
        ]
        return {"what": self.what, "bins": bins, "error": round(self.error, 6)}


def confusion_of(scored: Scored, classes: Sequence[str]) -> Confusion | None:
    """Return the confusions among samples of the scored classes, None where there is one class only or no sample."""
    inside = scored.columns >= 0
    count = len(classes)
    if count < 2 or not inside.any():
        return None
    said = scored.scores[inside].argmax(axis=1)
    flat = np.bincount(scored.columns[inside] * count + said, minlength=count * count)
    return Confusion(classes=tuple(classes), counts=flat.reshape(count, count).astype(np.int64))


def reliability_of(scored: Scored) -> Reliability:
    """Return how far the probabilities that scores state are true.

    Calibrated scores are one-vs-rest: each states the probability of its own class, and all are pooled. Raw logits are
    read as usual, as the probability that the highest one is right, among samples of the scored classes.
    """
    if scored.calibrated:
        right = scored.columns[:, None] == np.arange(scored.scores.shape[1])
        return binned(
            sigmoid(scored.scores), right, what="each score's sigmoid, one class against the rest, all pooled"
        )
    inside = scored.columns >= 0
    logits = scored.scores[inside].astype(np.float64)
    if logits.shape[1] == 1:
        return binned(sigmoid(scored.scores), (scored.columns == 0)[:, None], what="the score's sigmoid")
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
    right = logits.argmax(axis=1) == scored.columns[inside]
    return binned(confidence, right, what="softmax of the highest logit")


def binned(probability: Floats, right: npt.NDArray[np.bool_], *, what: str) -> Reliability:
    """Return probabilities and what came true, of one shape, in bins of equal width."""
    stated, came_true = probability.reshape(-1), right.reshape(-1).astype(np.float64)
    bins = np.minimum((stated * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    sums = [np.bincount(bins, weights=values, minlength=ECE_BINS) for values in (stated, came_true)]
    means = [np.divide(s, counts, out=np.full(ECE_BINS, np.nan), where=counts > 0) for s in sums]
    return Reliability(counts=counts.astype(np.int64), stated=means[0], observed=means[1], what=what)
