"""None of these: the probability below which a composite answers that no class of its own fits.

Modules are detectors of one class each, so a sample of another class may score low in all of them. The scores stay as
they are; the threshold on the highest of them travels in the manifest and in the graph's metadata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.engines.evaluation import columns_of
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, UsageError
from modhub.metrics import answers, proportion, sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from modhub.composer.part import Part
    from modhub.datasets import Dataset
    from modhub.network.network import Network
    from modhub.spec.manifest import Metric

AUTO = "auto"
EVEN = 0.5
"""The threshold without data: below it, a calibrated score says that its class is less likely than not."""
HELD_OUT = 0.3
"""Share of the data that the threshold is measured on, the same that calibrating leaves out."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A threshold on the highest probability, and what it does on samples that it was not chosen on."""

    threshold: float
    metrics: Mapping[str, Metric]


def parse_reject(text: str | float) -> str | float:
    """Return ``auto`` or a threshold.

    Raises:
        UsageError: it is neither ``auto`` nor a probability.
    """
    if text == AUTO:
        return AUTO
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not 0 < threshold < 1:
        raise UsageError(f"to reject, expected auto or a probability between 0 and 1, got {text!r}")
    return threshold


def rejection(
    network: Network, parts: Sequence[Part], wish: str | float, *, data: Dataset | None, columns: Sequence[str]
) -> Rejection:
    """Return when a composite answers "none of these".

    Args:
        network: the composite.
        parts: what it was made of.
        wish: the threshold, or ``auto``: that which tells most, on labelled data with samples of other classes; one
            half without such data.
        data: labelled samples, some of none of the classes; None where there are none.
        columns: the class that each column scores.

    Raises:
        ComposeError: a score is no probability, for want of a calibration.
        UsageError: the wish is no threshold.
    """
    wish = parse_reject(wish)
    raw = next((part.label for part in parts if not part.is_calibrated), None)
    if raw is not None and data is None:
        raise ComposeError(f"{raw} has no calibrated score, so nothing says when to reject: calibrate on data")
    if data is None:
        return Rejection(threshold=EVEN if wish == AUTO else float(wish), metrics={})
    learn, unseen = data.fitted(network.input).split(HELD_OUT)
    session = Session(network)
    found = best_threshold(session.run(learn.x), columns_of(learn, columns)) if wish == AUTO else float(wish)
    scores, of_unseen = session.run(unseen.x), columns_of(unseen, columns)
    return Rejection(threshold=found, metrics=measured(scores, of_unseen, threshold=found))


def best_threshold(scores: npt.NDArray[np.float32], columns: npt.NDArray[np.int64]) -> float:
    """Return the threshold with the most right answers, "none of these" weighing as much as all classes together.

    Args:
        scores: ``[n, k]``, calibrated.
        columns: the column of each sample's class, -1 for none of them.
    """
    is_ours = columns >= 0
    if is_ours.all() or not is_ours.any():
        return EVEN
    highest = sigmoid(scores).max(axis=1)
    right = scores.argmax(axis=1) == columns
    values = np.unique(np.concatenate([[EVEN], np.quantile(highest, np.linspace(0.01, 0.99, 99))]))
    worth = [(highest >= v)[is_ours & right].sum() / is_ours.sum() + (highest < v)[~is_ours].mean() for v in values]
    best = np.flatnonzero(np.isclose(worth, max(worth)))
    # Of several that are as good, the one in the middle lies furthest from both kinds of mistakes.
    return float(np.clip(round(float(values[best[len(best) // 2]]), 4), 0.0001, 0.9999))


def measured(scores: npt.NDArray[np.float32], columns: npt.NDArray[np.int64], *, threshold: float) -> dict[str, Metric]:
    """Return the shares of samples of the classes that get an answer, and of others that get none."""
    found, is_ours = answers(scores, least=threshold), columns >= 0
    shares = {"answered": found[is_ours] >= 0, "rejected": found[~is_ours] < 0}
    return {
        name: proportion(int(flags.sum()), len(flags), split="validation")
        for name, flags in shares.items()
        if len(flags)
    }
