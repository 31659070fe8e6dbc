"""`Report`: everything a decomposition is reported with, and `report.json`, the same as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.metrics import Scored, accuracy
from modhub.network.report import pinned_reasons, pinned_sentence
from modhub.report.curve import curve_of
from modhub.report.kept import kept_of
from modhub.report.overlap import overlap_of
from modhub.report.scores import confusion_of, reliability_of
from modhub.report.split import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.network.modules import Decomposition
    from modhub.network.sites import Site
    from modhub.package.package import Package
    from modhub.report.curve import Curve
    from modhub.report.kept import Kept
    from modhub.report.overlap import Overlap
    from modhub.report.scores import Confusion, Reliability
    from modhub.spec.manifest import Metric

FORMAT = "modhub/report@1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What came of a decomposition.

    Args:
        packages: the base, then the modules.
        cut: the value that ends the trunk, empty where there is none.
        history: what the decomposer saw, a dictionary per step.
        kept: what modules keep.
        overlap: what they have in common, None for a single module.
        curve: accuracy against size, None where the history does not tell.
        scored: the modules' scores on validation data, None where the decomposer did not keep them.
        pinned: sites that cannot be cut, by reason.
        pinned_sentence: the same in a sentence.
        commands: what to type to get the same, and to go on.
    """

    packages: tuple[Package, ...]
    cut: str
    history: tuple[Mapping[str, Any], ...]
    kept: Kept
    overlap: Overlap | None
    curve: Curve | None
    scored: Scored | None
    pinned: Mapping[str, tuple[Site, ...]]
    pinned_sentence: str
    commands: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the modules."""
        return self.kept.modules

    @property
    def composed_accuracy(self) -> Metric | None:
        """How often the highest score of all modules is right on validation data."""
        if self.scored is None or len(self.classes) < 2:
            return None
        inside = self.scored.columns >= 0
        return accuracy(self.scored.scores[inside], self.scored.columns[inside], split="validation")

    @property
    def confusion(self) -> Confusion | None:
        """The confusions of all modules together on validation data."""
        return None if self.scored is None else confusion_of(self.scored, self.classes)

    @property
    def reliability(self) -> Reliability | None:
        """How far the probabilities that modules state are true on validation data."""
        return None if self.scored is None else reliability_of(self.scored)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, as `report.json` holds it."""
        composed = self.composed_accuracy
        kept = self.kept.to_dict()
        return {
            "format": FORMAT,
            "parent": self.packages[0].manifest.to_dict(),
            "cut": self.cut,
            "accuracy": None if composed is None else composed.to_dict(),
            "history": [_finite(step) for step in self.history],
            "modules": [
                {
                    "name": package.name,
                    "version": package.version,
                    "bytes": package.size,
                    "metrics": {name: metric.to_dict() for name, metric in package.manifest.metrics.items()},
                }
                for package in self.packages[1:]
            ],
            "sites": kept.pop("sites"),
            "kept": kept,
            "overlap": _plain(self.overlap),
            "curve": _plain(self.curve),
            "confusion": _plain(self.confusion),
            "calibration": _plain(self.reliability),
            "commands": list(self.commands),
        }


def report_on(decomposition: Decomposition, packages: Sequence[Package], *, commands: Sequence[str] = ()) -> Report:
    """Return the report on a decomposition and its packages, the base first."""
    split = Split.of(decomposition)
    kept, scored = kept_of(split), scored_of(decomposition)
    parent = decomposition.parent_metrics.get("accuracy")
    loss = decomposition.method.parameters.get("max_loss")
    curve = curve_of(
        decomposition.history,
        parent=parent.value if parent else None,
        max_loss=float(loss) if isinstance(loss, (int, float)) else None,
        kept=kept.mean_share,
        measure=kept.measure,
    )
    return Report(
        packages=tuple(packages),
        cut=decomposition.cut,
        history=tuple(dict(step) for step in decomposition.history),
        kept=kept,
        overlap=overlap_of(split) if len(split.modules) > 1 else None,
        curve=curve,
        scored=scored,
        pinned=pinned_reasons(split.sites.sites),
        pinned_sentence=pinned_sentence(split.sites),
        commands=tuple(commands),
    )


def scored_of(decomposition: Decomposition) -> Scored | None:
    """Return the modules' calibrated scores on validation data, None where the decomposer did not keep them."""
    columns = [module.validation for module in decomposition.modules if module.validation is not None]
    if decomposition.validation is None or not columns or len(columns) < len(decomposition.modules):
        return None
    return Scored(scores=np.stack(columns, axis=1), columns=decomposition.validation, calibrated=True)


def _plain(value: Overlap | Curve | Confusion | Reliability | None) -> dict[str, Any] | None:
    return None if value is None else value.to_dict()


def _finite(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step with None for numbers that JSON has no word for."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in step.items()
    }
