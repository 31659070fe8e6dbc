"""Accuracy against size: what a decomposer saw on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Point:
    """Modules that could have been the outcome: share of kernels kept and composed accuracy, both from 0 to 1."""

    kept: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The points of a decomposer's history.

    Args:
        points: in the order in which they were seen.
        chosen: which of them became the outcome; None where that cannot be told.
        parent: the parent's accuracy on the same data, if known.
        max_loss: points of accuracy that might be lost, if known.
        measure: what is kept: ``kernels`` or ``weights``.
    """

    points: tuple[Point, ...]
    chosen: int | None
    parent: float | None
    max_loss: float | None
    measure: str = "kernels"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {
            "points": [
                {"kept": point.kept, "accuracy": point.accuracy, "chosen": i == self.chosen}
                for i, point in enumerate(self.points)
            ],
            "parent": self.parent,
            "max_loss": self.max_loss,
            "measure": self.measure,
        }


def curve_of(
    history: Sequence[Mapping[str, Any]],
    *,
    parent: float | None,
    max_loss: float | None,
    kept: float | None,
    measure: str = "kernels",
) -> Curve | None:
    """Return the curve of a history, None where it has no steps with ``kept`` and ``accuracy``.

    Args:
        history: what the decomposer saw; a step may say itself that it was ``chosen``.
        parent: the parent's accuracy.
        max_loss: points of accuracy that might be lost.
        kept: the share that the outcome keeps: without a step that says so, the nearest one was chosen.
        measure: what the share is of, ``kernels`` or ``weights``.
    """
    steps = [step for step in history if _is_share(step.get("kept")) and _is_share(step.get("accuracy"))]
    if not steps:
        return None
    points = tuple(Point(kept=float(step["kept"]), accuracy=float(step["accuracy"])) for step in steps)
    said = [i for i, step in enumerate(steps) if step.get("chosen") is True]
    chosen = said[-1] if said else None
    if chosen is None and kept is not None:
        chosen = min(range(len(points)), key=lambda i: (abs(points[i].kept - kept), -i))
    return Curve(points=points, chosen=chosen, parent=parent, max_loss=max_loss, measure=measure)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
