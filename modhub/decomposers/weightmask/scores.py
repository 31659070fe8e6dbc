"""The learned scores: where they start, and how they move."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from modhub.decomposers.weightmask.arrays import fan_in
from modhub.decomposers.weightmask.masks import highest
from modhub.decomposers.weightmask.recipe import MAGNITUDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.decomposers.weightmask.masks import Masks
    from modhub.decomposers.weightmask.recipe import Recipe
    from modhub.network.network import Network

    Tensors = Sequence[torch.Tensor]

PARTS = ("values", "common", "last_mean", "velocity")


def first_scores(network: Network, names: Sequence[str], *, modules: int, init: str, seed: int) -> list[torch.Tensor]:
    """Return a score per module and weight, ``[N, *shape]`` per array, of the spread of Kaiming's normal numbers.

    Args:
        network: the parent.
        names: its masked arrays.
        modules: N.
        init: ``magnitude``: the weights' magnitudes, equal for all modules; ``kaiming``: random and independent.
        seed: of the random numbers.
    """
    random = torch.Generator().manual_seed(seed)
    found = []
    for name in names:
        weight = torch.from_numpy(network.arrays[name].copy()).to(torch.float32)
        spread = math.sqrt(2 / fan_in(network, name))
        if init == MAGNITUDE:
            equal = weight.abs() / weight.abs().mean().clamp_min(1e-12) * spread
            found.append(equal.expand(modules, *weight.shape).clone())
        else:
            found.append(spread * torch.randn((modules, *weight.shape), generator=random))
    return found


class Scores:
    """Scores under SGD with momentum.

    With a sharing weight, a module's scores are a common part and a deviation. The common part moves with the mean of
    all gradients; after every step a deviation is drawn to zero by the learning rate times that weight, so most become
    exactly zero (a proximal step for the L1 distance to a common score).

    Args:
        values: the first scores, ``[N, *shape]`` per array.
        sharing: weight of the distance to the common part; zero for modules that are free.
    """

    def __init__(self, values: Tensors, *, recipe: Recipe, sharing: float = 0.0) -> None:
        self.values = list(values)
        self.recipe, self.sharing = recipe, sharing
        self.common = [own.mean(dim=0) for own in self.values] if sharing else []
        self.last_mean: list[torch.Tensor] = []
        self.restart()

    def restart(self) -> None:
        """Forget the momentum."""
        self.velocity = [torch.zeros_like(own) for own in self.values]

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that the next steps depend on, by name."""
        return {f"{part}/{i}": own for part in PARTS for i, own in enumerate(getattr(self, part))}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` returned."""
        device = self.values[0].device
        for part in PARTS:
            names = [f"{part}/{i}" for i in range(len(self.values))]
            setattr(self, part, [state[name].to(device) for name in names if name in state])

    def masks(self, density: float) -> Masks:
        """Return the masks of a density."""
        return [highest(own, density) for own in self.values]

    def remember_mean(self) -> None:
        """Take the mean score over modules as what the paper's regulariser draws to."""
        self.last_mean = [own.mean(dim=0) for own in self.values]

    @torch.no_grad()
    def step(self, gradients: Tensors, *, rate: float) -> None:
        """Move the scores against their gradients, ``[N, *shape]`` per array."""
        for i, gradient in enumerate(gradients):
            pulled = gradient if not self.last_mean else gradient + self._stem(i)
            velocity = self.velocity[i].mul_(self.recipe.momentum).add_(pulled)
            change = pulled + self.recipe.momentum * velocity if self.recipe.nesterov else velocity
            if self.sharing:
                self._share(i, change, rate)
            else:
                self.values[i].sub_(change, alpha=rate)

    def _stem(self, i: int) -> torch.Tensor:
        """Return the gradient of the mean distance to the remembered mean, averaged over arrays."""
        distance = self.values[i] - self.last_mean[i]
        return distance.sign() * (self.recipe.stem / (len(self.values) * self.last_mean[i].numel()))

    def _share(self, i: int, change: torch.Tensor, rate: float) -> None:
        deviation = self.values[i] - self.common[i] - rate * change
        deviation = deviation.sign() * (deviation.abs() - rate * self.sharing).clamp_min(0)
        self.common[i].sub_(change.mean(dim=0), alpha=rate)
        torch.add(self.common[i], deviation, out=self.values[i])
