"""Glue: how one module's score takes its place among a weak model's logits.

======== ==============================================================================================
linear   a matrix over all logits and the score, learned while both networks stand still (after MODA)
minmax   probabilities, the class's own replaced by its score between two extremes (CNNSplitter, GradSplitter)
none     the score as it is beside the weak model's calibrated log-odds
======== ==============================================================================================

Every glue is one affine map of ``[logits or probabilities, score]``, so what is measured here in NumPy is what runs in
ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from modhub import plugins
from modhub.errors import ComposeError, InvalidData, InvalidPlugin

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

GLUES = ("linear", "minmax", "none")
"""The kinds of modhub itself; plugins add to them."""

READS = ("logits", "probabilities", "odds")
GIVES = ("logits", "scores")
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Strengths with which a learned map is drawn to where it started; the best on validation data is taken."""

STEPS = 400
ODDS_LIMIT = 1e-7
"""Least probability, of a class and of all others together, before they become log-odds."""

SHIFTS = 0.05
"""Step, in log-odds, of the search for the class's offset."""

FARTHEST = 8.0

MARGIN = 0.005
"""Share of the other classes' accuracy that may be lost on validation data."""


@dataclass(frozen=True, eq=False)
class Glue:
    """An affine map of a weak model's columns and a module's score to new columns.

    Args:
        kind: one of `glues`.
        matrix: ``[columns, columns + 1]``; its last column weighs the score.
        offset: ``[columns]``.
        reads: what the map reads of the weak model: ``logits``, ``probabilities`` or ``odds`` (calibrated logits).
        gives: what it returns: ``logits`` (to be normalised into odds) or ``scores`` (to be used as they are).
    """

    kind: str
    matrix: Floats
    offset: Floats
    reads: str
    gives: str

    def apply(self, logits: npt.NDArray[np.floating], score: npt.NDArray[np.floating]) -> Floats:
        """Return the patched scores ``[n, columns]`` for logits ``[n, columns]`` and a score ``[n]``."""
        read = {"logits": logits.astype(np.float64), "probabilities": softmax(logits), "odds": odds(logits)}[self.reads]
        mapped = np.concatenate([read, score[:, None]], axis=1) @ self.matrix.T + self.offset
        return odds(mapped) if self.gives == "logits" else mapped


@dataclass(frozen=True, eq=False)
class Seen:
    """What both models say of labelled samples.

    Args:
        logits: the weak model's, ``[n, columns]``.
        score: the module's, ``[n]``.
        labels: the column of each sample's class, ``[n]``.
    """

    logits: npt.NDArray[np.floating]
    score: npt.NDArray[np.floating]
    labels: Labels


class Maker(Protocol):
    """A function that makes the glue of a plugin."""

    def __call__(self, *, column: int, train: Seen | None, validation: Seen | None, width: int) -> Glue:
        """Return the glue; the arguments are those of `fit`."""
        ...


def glues() -> tuple[str, ...]:
    """Return all kinds of glue, those of plugins last."""
    return (*GLUES, *dict.fromkeys(plugin.name for plugin in plugins.installed(plugins.GLUE, besides=GLUES)))


def fit(kind: str, *, column: int, train: Seen | None, validation: Seen | None, width: int) -> Glue:
    """Return a glue of one kind.

    Args:
        kind: one of `glues`.
        column: the class that is taken over.
        train: what to fit it on; ``none`` needs nothing.
        validation: what to choose it on.
        width: number of the weak model's columns.

    Raises:
        ComposeError: there is no such glue, or data is missing that it needs.
        InvalidData: the data has no sample of the class, or of another.
        InvalidPlugin: a plugin brings the glue, and cannot be used.
    """
    plugin = None if kind in GLUES else plugins.find(plugins.GLUE, kind)
    if plugin is not None:
        return _plugged(plugin, column=column, train=train, validation=validation, width=width)
    if kind not in GLUES:
        raise ComposeError(f"there is no glue {kind!r}; the glues are {', '.join(glues())}")
    if kind == "none":
        return replacing(column, width=width, kind=kind, reads="odds", scale=1.0, offset=0.0)
    if train is None or validation is None:
        raise ComposeError(f"the glue {kind!r} is fitted on data: give --data, or use --glue none")
    for seen in (train, validation):
        own = seen.labels == column
        if not own.any() or own.all():
            raise InvalidData("the data needs samples of the class that is taken over, and of others", where="y")
    if kind == "minmax":
        low, high = (float(extreme(train.score[train.labels == column])) for extreme in (np.min, np.max))
        scale = 1.0 / max(high - low, 1e-6)
        return replacing(column, width=width, kind=kind, reads="probabilities", scale=scale, offset=-low * scale)
    return learned(column, train, validation)


def _plugged(plugin: plugins.Plugin, *, column: int, train: Seen | None, validation: Seen | None, width: int) -> Glue:
    """Return a plugin's glue, once it is sure that it is one."""
    maker: Maker = plugin.load()
    with plugin.running():
        glue = maker(column=column, train=train, validation=validation, width=width)
    if not isinstance(glue, Glue):
        raise InvalidPlugin(f"{plugin} returned {type(glue).__name__}, expected a Glue")
    shapes = (np.shape(glue.matrix), np.shape(glue.offset))
    if shapes != ((width, width + 1), (width,)):
        expected = f"expected {[width, width + 1]} and {[width]}"
        raise InvalidPlugin(f"{plugin} returned a matrix {list(shapes[0])} and offset {list(shapes[1])}, {expected}")
    if not (np.isfinite(glue.matrix).all() and np.isfinite(glue.offset).all()):
        raise InvalidPlugin(f"{plugin} returned numbers that are not finite")
    if glue.reads not in READS or glue.gives not in GIVES:
        raise InvalidPlugin(f"{plugin} reads {glue.reads!r} and gives {glue.gives!r}, expected {READS} and {GIVES}")
    return glue


def replacing(column: int, *, width: int, kind: str, reads: str, scale: float, offset: float) -> Glue:
    """Return the glue that leaves all columns but one as they are, and puts a scaled score there.

    Probabilities become scores by the line that touches the log-odds at one half, ``4 * (p - 0.5)``: it keeps the
    order also beyond 0 and 1, where an extreme of the score may lie.
    """
    matrix = np.concatenate([np.eye(width), np.zeros((width, 1))], axis=1)
    shift = np.zeros(width)
    matrix[column] = 0.0
    matrix[column, width], shift[column] = scale, offset
    if reads == "probabilities":
        matrix, shift = 4.0 * matrix, 4.0 * shift - 2.0
    return Glue(kind, matrix, shift, reads, "scores")


def learned(column: int, train: Seen, validation: Seen) -> Glue:
    """Return the learned map that is best on validation data without hurting anybody there.

    The weak model's own logit of the class stays among the inputs or not (MODA drops it), and the map is drawn to its
    start more or less strongly. Of each, the offset of the class is then moved until its recall is no less than the
    weak model's, and the accuracy of the other classes no more than half a point less.
    """
    found: list[tuple[tuple[bool, bool, float], int, Glue]] = []
    for drops in (False, True):
        for penalty in PENALTIES:
            glue = descended(column, train, drops=drops, penalty=penalty)
            guarded, rank = guard(glue, column, validation)
            found.append((rank, -len(found), guarded))
    return max(found, key=lambda entry: entry[:2])[2]


def descended(column: int, train: Seen, *, drops: bool, penalty: float) -> Glue:
    """Return a multinomial logistic regression on logits and score, by accelerated gradient descent.

    It starts from the weak model with the score in the class's place, on the scale of the logit that it replaces.
    """
    width = train.logits.shape[1]
    inputs = np.concatenate([train.logits, train.score[:, None]], axis=1).astype(np.float64)
    mean, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-6)
    x = np.concatenate([(inputs - mean) / spread, np.ones((len(inputs), 1))], axis=1)
    start = np.concatenate([np.eye(width), np.zeros((width, 2))], axis=1) * np.append(spread, 1.0)
    start[:, -1] = mean[:width]
    open_ = np.ones_like(start)
    if drops:
        start[column, :width], start[column, width] = 0.0, start[column, column]
        start[:, column] = 0.0
        open_[:, column] = 0.0
    target = np.eye(width)[train.labels]
    # The curvature of the softmax is at most one half.
    rate = 1.0 / (0.5 * float(np.linalg.eigvalsh(x.T @ x / len(x))[-1]) + penalty)
    weights, ahead, momentum = start.copy(), start.copy(), 1.0
    for _ in range(STEPS):
        gradient = (softmax(x @ ahead.T) - target).T @ x / len(x) + penalty * (ahead - start)
        following = ahead - rate * gradient * open_
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / grown * (following - weights)
        weights, momentum = following, grown
    matrix = weights[:, :-1] / spread
    return Glue("linear", matrix, weights[:, -1] - matrix @ mean, "logits", "logits")


def guard(glue: Glue, column: int, validation: Seen) -> tuple[Glue, tuple[bool, bool, float]]:
    """Return a glue with the class's offset moved as little as needed, and how it ranks.

    First comes whether recall holds, then whether the other classes hold, then the accuracy.
    """
    # In log-odds a shift of one column is not one of the map, so the map's own output is looked at.
    inputs = np.concatenate([validation.logits, validation.score[:, None]], axis=1).astype(np.float64)
    raw = inputs @ glue.matrix.T + glue.offset
    before = outcome(validation.logits, validation.labels, column)
    found = []
    for shift in np.concatenate([[0.0], np.arange(SHIFTS, FARTHEST, SHIFTS), -np.arange(SHIFTS, FARTHEST, SHIFTS)]):
        moved = raw.copy()
        moved[:, column] += shift
        after = outcome(moved, validation.labels, column)
        holds = after["recall"] >= before["recall"]
        others = after["others"] >= before["others"] - MARGIN
        rank = (holds, others, after["accuracy"])
        found.append((rank, -abs(float(shift)), float(shift)))
    rank, _, shift = max(found)
    offset = glue.offset.copy()
    offset[column] += shift
    return Glue(glue.kind, glue.matrix, offset, glue.reads, glue.gives), rank


def outcome(scores: npt.NDArray[np.floating], labels: Labels, column: int) -> dict[str, float]:
    """Return what a model does for one class and the others, shares from 0 to 1.

    ``precision``, ``recall`` and ``f1`` are the class's, by the highest score; ``others`` is the accuracy on the
    samples of other classes, which is what the papers call non-target accuracy; ``accuracy`` is that on all.
    """
    said = scores.argmax(axis=1)
    own, claimed = labels == column, said == column
    hits = int((own & claimed).sum())
    precision, recall = hits / max(1, int(claimed.sum())), hits / max(1, int(own.sum()))
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "others": float((said == labels)[~own].mean()) if not own.all() else 0.0,
        "accuracy": float((said == labels).mean()),
    }


def softmax(logits: npt.NDArray[np.floating]) -> Floats:
    """Return probabilities ``[n, k]``."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def odds(logits: npt.NDArray[np.floating]) -> Floats:
    """Return the log-odds of each class against all others, which is what a calibrated score means."""
    probability = softmax(logits)
    # Summed up rather than subtracted from one, which would leave nothing of a small rest.
    others = probability @ (1 - np.eye(logits.shape[1]))
    result: Floats = np.log(np.maximum(probability, ODDS_LIMIT)) - np.log(np.maximum(others, ODDS_LIMIT))
    return result
