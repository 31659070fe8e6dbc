"""From raw scores to a decomposition: calibration, metrics, provenance. The same for every method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch

from modhub.metrics import accuracy, detection, fit_platt
from modhub.network.modules import ClassModule
from modhub.spec.manifest import DataSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.decomposers.features import Features
    from modhub.network.modules import Affine, Channels
    from modhub.network.network import Network
    from modhub.spec.manifest import Metric


class Candidate(Protocol):
    """Modules that could be the outcome: how much they keep, and how well they compose on validation data."""

    @property
    def share(self) -> float:
        """Return the share of the maskable channels that is kept."""
        ...

    @property
    def accuracy(self) -> float:
        """Return the composed validation accuracy, from 0 to 1."""
        ...


Chosen = TypeVar("Chosen", bound=Candidate)


def choose(history: Sequence[Chosen], *, max_loss: float, parent: float) -> Chosen:
    """Return the candidate with the fewest kernels whose validation accuracy is within `max_loss` points of the parent.

    Where none is, the most accurate one: a network with nothing to spare gives larger modules, never a refusal.
    """
    within = [candidate for candidate in history if candidate.accuracy >= parent - max_loss / 100]
    if within:
        return min(within, key=lambda candidate: (candidate.share, -candidate.accuracy))
    return max(history, key=lambda candidate: (candidate.accuracy, -candidate.share))


def calibrated_accuracy(scores: npt.NDArray[np.float32], held_out: Features) -> float:
    """Return how often the highest of the modules' scores is right, once calibrated as in a composite.

    Args:
        scores: raw scores on the validation data, ``[n, modules]``.
        held_out: the validation data.
    """
    maps = [fit_platt(scores[:, i], held_out.columns == i, data="") for i in range(scores.shape[1])]
    scale, offset = (np.array([getattr(found, name) for found in maps]) for name in ("scale", "offset"))
    return held_out.accuracy(torch.from_numpy(scores * scale + offset))


def class_modules(
    scores: npt.NDArray[np.float32],
    *,
    network: Network,
    rows: Sequence[int],
    classes: tuple[str, ...] | None,
    kept: Sequence[Mapping[str, Channels]],
    affine: Sequence[Mapping[str, Affine]],
    validation: Features,
    data: str,
) -> tuple[ClassModule, ...]:
    """Return class modules, calibrated and measured on validation data.

    Args:
        scores: raw scores of the modules on the validation data, ``[n, modules]``.
        network: the parent.
        rows: the parent's logit that each module scores.
        classes: the names of all the parent's classes.
        kept: each module's masks.
        affine: each module's scales and offsets.
        validation: the validation data.
        data: what the validation data is called.
    """
    names = classes or tuple(f"class-{row}" for row in range(int(network.output_shape[-1])))
    modules = []
    for i, row in enumerate(rows):
        is_class = validation.columns == i
        calibration = fit_platt(scores[:, i], is_class, data=data)
        calibrated = calibration.scale * scores[:, i] + calibration.offset
        modules.append(
            ClassModule(
                label=names[row],
                row=row,
                kept=kept[i],
                affine=affine[i],
                calibration=calibration,
                metrics=detection(calibrated, is_class, split="validation"),
                validation=calibrated,
            )
        )
    return tuple(modules)


def provenance(train: Dataset, validation: Features) -> dict[str, Any]:
    """Return what a decomposition says of its data: the source, validation labels, and the parent's accuracy there."""
    inside = validation.columns >= 0
    metrics: dict[str, Metric] = {
        "accuracy": accuracy(validation.logits.numpy()[inside], validation.columns[inside], split="validation")
    }
    return {
        "data": DataSource(name=train.name, split="train", samples=len(train), sha256=train.sha256),
        "parent_metrics": metrics,
        "validation": validation.columns,
    }
