"""Scores of modules fitted to one another: one scale and one offset per column, all learned together.

Every module was calibrated by itself, on its parent's data. Side by side, and on somebody's own data, they may be off
by different amounts, and the highest score is then the wrong one. Few labelled samples mend that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.engines.evaluation import columns_of
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, InvalidData
from modhub.metrics import accuracy, expected_calibration_error, sigmoid
from modhub.network.network import Node
from modhub.network.passes.names import fresh_name, rename
from modhub.spec.manifest import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.network.network import Network

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

HELD_OUT = 0.3
"""Share of the data that the fit does not see, to tell what it is worth."""
STEPS = 100
PRIOR = 0.003
"""How strongly scales are drawn to 1 and offsets to 0: just enough for data that the scores separate."""
LEAST_SCALE = 1e-3
SCALE, OFFSET = "joint/scale", "joint/offset"


@dataclass(frozen=True, kw_only=True)
class Refit:
    """A composite with fitted scores, and what that changed on data that the fit did not see.

    `error` and `accuracy` are the expected calibration error, mean over the columns, and the composed accuracy, each
    before and after; `samples` is the size of that data.
    """

    network: Network
    error: tuple[float, float]
    accuracy: tuple[float, float]
    samples: int

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Return what a manifest says of it."""
        return {
            "calibration_error": Metric(value=self.error[1], split="validation", n=self.samples),
            "accuracy": Metric(value=self.accuracy[1], split="validation", n=self.samples),
        }


def refit(network: Network, data: Dataset, *, columns: Sequence[str]) -> Refit:
    """Return a composite whose scores are fitted to labelled data.

    Samples of classes that the composite does not score count as "none of these". What is returned was fitted on seven
    tenths of the data and measured on the rest.

    Args:
        network: a composite, output ``[batch, k]``.
        data: labelled samples whose classes include the composite's.
        columns: the class that each column scores.

    Raises:
        ComposeError: the composite has a single column.
        InvalidData: the data is unlabelled, lacks a class, does not fit the input, or is too small to hold some out.
    """
    if len(columns) < 2:
        raise ComposeError("one score alone has nothing to be fitted to: calibrate two modules or more")
    data = data.fitted(network.input)
    learn, unseen = data.split(HELD_OUT)
    of_learn, of_unseen = columns_of(learn, columns), columns_of(unseen, columns)
    for i, name in enumerate(columns):
        if i not in of_learn or i not in of_unseen:
            raise InvalidData(f"there are too few samples of the class {name!r} to fit and to measure", file=data.name)
    session = Session(network)
    scale, offset = fit_jointly(session.run(learn.x).astype(np.float64), of_learn)
    before = session.run(unseen.x)
    after = before * scale.astype(np.float32) + offset.astype(np.float32)
    inside = of_unseen >= 0
    return Refit(
        network=scaled(network, scale, offset),
        error=(_error(before, of_unseen), _error(after, of_unseen)),
        accuracy=(
            accuracy(before[inside], of_unseen[inside], split=None).value,
            accuracy(after[inside], of_unseen[inside], split=None).value,
        ),
        samples=len(unseen),
    )


def fit_jointly(scores: Floats, columns: Labels) -> tuple[Floats, Floats]:
    """Return a scale and an offset per column, ``[k]`` each.

    They minimise the cross-entropy of the softmax over the columns, on samples of one of the classes, plus that of each
    column by itself, on all samples: scores have to say which class it is, and how likely. The first alone would leave
    every offset free by the same amount, the second alone is Platt scaling per module. Both are convex, so Newton's
    method finds the minimum.

    Args:
        scores: ``[n, k]``.
        columns: the column of each sample's class, -1 for none of them.
    """
    count = scores.shape[1]
    spread = np.maximum(scores.std(axis=0), 1e-9)
    x = scores / spread
    is_class = columns[:, None] == np.arange(count)
    weights = np.concatenate([spread, np.zeros(count)])
    goal = weights.copy()
    loss = _loss(weights, goal, x, is_class)
    for _ in range(STEPS):
        gradient, curvature = _derivatives(weights, goal, x, is_class)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while length > 1e-6:
            trial = weights - length * step
            trial[:count] = np.maximum(trial[:count], LEAST_SCALE * spread)
            new = _loss(trial, goal, x, is_class)
            if new <= loss:
                break
            length /= 2
        else:
            break
        done = loss - new < 1e-10 * max(1.0, abs(loss))
        weights, loss = trial, new
        if done:
            break
    return weights[:count] / spread, weights[count:]


def _logits(weights: Floats, x: Floats) -> Floats:
    count = x.shape[1]
    return np.asarray(x * weights[:count] + weights[count:])


def _loss(weights: Floats, goal: Floats, x: Floats, is_class: npt.NDArray[np.bool_]) -> float:
    z = _logits(weights, x)
    inside = is_class.any(axis=1)
    highest = z.max(axis=1)
    together = highest + np.log(np.exp(z - highest[:, None]).sum(axis=1)) - np.where(is_class, z, 0).sum(axis=1)
    alone = np.logaddexp(0, z) - np.where(is_class, z, 0)
    return float(together[inside].sum() + alone.sum() + PRIOR / 2 * ((weights - goal) ** 2).sum())


def _derivatives(weights: Floats, goal: Floats, x: Floats, is_class: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the gradient and the curvature of the loss."""
    z = _logits(weights, x)
    share = np.exp(z - z.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    share *= is_class.any(axis=1, keepdims=True)
    odds = sigmoid(z)
    residual = share - is_class + odds - is_class
    gradient = np.concatenate([(residual * x).sum(axis=0), residual.sum(axis=0)]) + PRIOR * (weights - goal)
    both = np.concatenate([share * x, share], axis=1)
    curvature = -both.T @ both
    own = share + odds * (1 - odds)
    count = x.shape[1]
    i = np.arange(count)
    for row, column, values in ((0, 0, own * x * x), (0, 1, own * x), (1, 0, own * x), (1, 1, own)):
        curvature[row * count + i, column * count + i] += values.sum(axis=0)
    return gradient, curvature + PRIOR * np.eye(2 * count)


def scaled(network: Network, scale: Floats, offset: Floats) -> Network:
    """Return a composite with a scale and an offset behind each of its columns."""
    taken = {*network.arrays, *network.producers(), network.input.name}
    inner, middle, *names = (fresh_name(wish, taken) for wish in ("joint/raw", "joint/scaled", SCALE, OFFSET))
    output = network.output
    network = rename(network, {output: inner})
    last = (
        Node(op="Mul", inputs=(inner, names[0]), outputs=(middle,), attributes={}, name=middle),
        Node(op="Add", inputs=(middle, names[1]), outputs=(output,), attributes={}, name=f"{middle}.shifted"),
    )
    arrays = dict(zip(names, (scale.astype(np.float32), offset.astype(np.float32)), strict=True))
    return network.replace(nodes=(*network.nodes, *last), arrays={**network.arrays, **arrays}, output=output)


def _error(scores: npt.NDArray[np.float32], columns: Labels) -> float:
    errors = [expected_calibration_error(scores[:, i], np.equal(columns, i)) for i in range(scores.shape[1])]
    return float(np.mean(errors))
