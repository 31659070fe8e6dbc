"""The numbers of the two recipes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from modhub.decomposers.options import check_recipe

KAIMING, MAGNITUDE = "kaiming", "magnitude"
OWN, GRAFT = "own", "graft"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How masks are learned. The defaults are `fast`; what the comments of the fields call measured is on MNIST.

    Args:
        init: what scores start from. ``magnitude``: how large the weights are, the same for every module, so that
            modules differ only where the data asks for it (union of ten modules at 10 % density: 12 % of the weights).
            ``kaiming``: random numbers, others for each module (union: 65 %).
        head: what a module's score is made of. ``own``: the class's own logit. ``graft``: a linear layer on the
            rectified logits, trained per module, as in the reproduction of the paper.
        ladder: densities tried, in this order, each from where the last one ended.
        steps: optimiser steps per rung.
        batch: samples per step.
        rate: learning rate of the scores (SGD with momentum, cosine to zero). An adaptive optimiser would let the
            scores of irrelevant weights drift apart, and sharing with them.
        deep_rate: the same for deep networks. At 0.1, ResNet-20 fell below masks that were not trained (30 % of the
            last stage, 80 steps of 32: 32 %, at 0.02 90 %, untrained 77 %).
        momentum: of the scores.
        nesterov: whether the momentum is Nesterov's.
        every: steps between two choices of the masks.
        falling: share of a rung's steps in which the density falls to its goal.
        joint: weight of the loss that compares the modules' scores with one another.
        union: weight of the loss of one network with the union of the masks of random classes.
        deep_union: the same for deep networks.
        stem: weight of the paper's regulariser, the distance of a module's scores to the mean of the last epoch's.
        head_rate: learning rate of the heads.
        settling: share of a rung's steps at its end in which only the heads learn.
    """

    init: str = MAGNITUDE
    head: str = OWN
    ladder: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03)
    steps: int = 800
    batch: int = 128
    rate: float = 0.1
    deep_rate: float = 0.02
    momentum: float = 0.9
    nesterov: bool = False
    every: int = 5
    falling: float = 0.6
    joint: float = 1.0
    union: float = 5.0
    deep_union: float = 1.0
    stem: float = 0.0
    head_rate: float = 0.01
    settling: float = 0.0

    def for_deep(self) -> Recipe:
        """Return the recipe for networks that are not a few fully connected layers."""
        return dataclasses.replace(self, rate=self.deep_rate, union=self.deep_union)

    def for_flat(self) -> Recipe:
        """Return the recipe for a few fully connected layers, whose density need not fall slowly."""
        return dataclasses.replace(self, falling=0.0)


FAST = Recipe()
PAPER = Recipe(
    init=KAIMING,
    head=GRAFT,
    ladder=(0.5,),
    steps=2000,
    nesterov=True,
    every=1,
    falling=0.0,
    joint=0.0,
    union=0.0,
    deep_union=0.0,
    # The reproduction's weight, 0.05, moves nothing at this learning rate; 30 halved the union of ten modules.
    stem=30.0,
    settling=0.1,
)
RECIPES = {"fast": FAST, "paper": PAPER}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        UsageError: there is none of that name.
    """
    check_recipe(name, RECIPES, method="weightmask")
    return RECIPES[name]
