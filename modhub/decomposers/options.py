"""What a person can ask of a decomposer, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from modhub.errors import UsageError

if TYPE_CHECKING:
    from modhub.decomposers.checkpoint import Checkpoint

AUTO = "auto"

Progress: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Called with a plain dictionary per step: ``step``, and numbers such as ``epoch``, ``kept``, ``accuracy``."""


def silent(event: Mapping[str, Any]) -> None:
    """Ignore progress."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choices common to every decomposer.

    Args:
        recipe: ``fast`` (ours) or ``paper`` (faithful to the publication).
        max_loss: most points of composed validation accuracy that the modules may lose against the parent.
        keep: smallest share of the maskable kernels that is tried, above 0 and at most 1.
        cut: where the trunk ends: a value's name, ``auto``, ``cheap`` or ``none``; see `modhub.decomposers.cut`.
        classes: positions of the parent's logits to make modules for; empty for all.
        steps: optimiser steps per level of retention; None for the recipe's own number.
        flip: also train on mirror images, for data where left and right do not matter.
        align: kept channels per site are rounded to a multiple of this.
        tied: whether channels that a residual addition puts onto each other are kept or dropped together; recipe
            ``paper`` ties them always.
        sharing: how strongly weight masks are drawn to one common mask; 0 leaves them free.
        seed: seed of every random choice.
        device: where torch computes.
        budget: seconds after which training stops early; None for no limit.
        checkpoint: where unfinished work is kept and gone on with; None to keep nothing.
    """

    recipe: str = "fast"
    max_loss: float = 0.5
    keep: float = 0.25
    cut: str = AUTO
    classes: tuple[int, ...] = ()
    steps: int | None = None
    flip: bool = False
    align: int = 8
    tied: bool = False
    sharing: float = 0.0
    seed: int = 0
    device: str = "cpu"
    budget: float | None = None
    checkpoint: Checkpoint | None = field(default=None, compare=False, repr=False)


def check_recipe(name: str, recipes: Iterable[str], *, method: str) -> None:
    """Check that a decomposer has a recipe of this name.

    Raises:
        UsageError: it has none.
    """
    if name not in (known := tuple(recipes)):
        raise UsageError(f"{method} has no recipe {name!r}; the recipes are: {', '.join(known)}")


def refuse_tied(options: Options, *, method: str) -> None:
    """Refuse to tie channels where a method cannot.

    Raises:
        UsageError: it was asked for.
    """
    if options.tied:
        raise UsageError(f"{method} cannot tie channels by this recipe; gradsplitter and saliency can")
