"""What a person can ask of training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from modhub.errors import UsageError

OBJECTIVES = ("moda", "plain")
OPTIMISERS = ("sgd", "adamw")
PRECISIONS = ("no", "bf16", "fp16")
SELECTIONS = ("last", "best")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choices of a training run; the defaults are those of MODA's paper.

    Args:
        objective: ``moda`` (cross-entropy and modularity) or ``plain`` (cross-entropy).
        epochs: passes over the data.
        batch: samples per step, of all processes together.
        rate: highest learning rate; it falls to zero along a cosine.
        warmup: share of all steps in which the rate rises from zero.
        momentum: of SGD, which is Nesterov's.
        weight_decay: of the optimiser.
        optimiser: ``sgd`` or ``adamw``.
        clip: longest gradient; None for any.
        alpha: weight of the affinity of samples of one class.
        beta: weight of the dispersion of different classes.
        gamma: weight of compactness.
        contrast: weight of NeMo's contrastive loss over the same activations.
        temperature: of the contrastive loss.
        flip: also train on mirror images.
        crop: pixels to pad images with on each side before they are cropped at random; 0 for no cropping.
        normalise: put the data's mean and deviation per channel inside the model.
        precision: ``no``, ``bf16`` or ``fp16``.
        select: which weights become the model: the ``last`` ones (the paper), or the ``best`` on validation data.
        seed: seed of every random choice.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: a value means nothing.
    """

    objective: str = "moda"
    epochs: int = 200
    batch: int = 128
    rate: float = 0.05
    warmup: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    optimiser: str = "sgd"
    clip: float | None = None
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 0.3
    contrast: float = 0.0
    temperature: float = 0.2
    flip: bool = False
    crop: int = 0
    normalise: bool = True
    precision: str = "no"
    select: str = "last"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check each value."""
        for name, known in (
            ("objective", OBJECTIVES),
            ("optimiser", OPTIMISERS),
            ("precision", PRECISIONS),
            ("select", SELECTIONS),
        ):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}: expected one of {', '.join(known)}; got {getattr(self, name)!r}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("alpha", "beta", "gamma", "contrast", "crop", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("rate", "temperature"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: expected more than 0, got {getattr(self, name)}")

    @classmethod
    def fine_tuning(cls, **changes: Any) -> Options:
        """Return what suits a trained classifier: a few epochs at a low rate, gradients held short, inputs as they are.

        Batch-norm of a trained classifier may be folded into its layers, so that long steps would not be forgiven.

        >>> Options.fine_tuning(epochs=3).rate
        0.005
        """
        known = {"epochs": 5, "rate": 0.005, "warmup": 0.1, "clip": 1.0, "normalise": False}
        return cls(**{**known, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as plain values."""
        return dataclasses.asdict(self)
