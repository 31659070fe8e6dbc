"""How modules learn from their parent: the numbers, which samples matter to which module, and the loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

FEW = 10
"""Classes up to which a batch and the share that modules look at stay as they are."""
MOST_SAMPLES = 512
"""Most samples per step."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of the training; chosen on validation data of ResNet-20 on CIFAR-10.

    Retention falls rung by rung. Within a rung it falls during the first `search_share` of the steps (cubic, as in
    Zhu and Gupta 2017) while the latents collect gradients; then the masks stand still and scales and offsets settle.

    Args:
        rungs: shares of kernels kept, tried in this order.
        steps: optimiser steps per rung.
        search_share: share of a rung's steps in which masks change.
        every: steps between two choices of the masks.
        batch: samples per step.
        relevant: share of a batch that each module looks at, the samples whose margin for its class is highest.
        rate: learning rate of scales and offsets (Adam), with a cosine to zero while they settle.
        memory: how much of a latent stays when a new gradient comes in.
        temperature: of the softened scores whose KL divergence is one half of the loss.
        raw_weight: weight of the squared error of the raw logits, the other half.
        saliency_samples: samples for the latents to start from.
    """

    rungs: tuple[float, ...] = (0.7, 0.5, 0.35, 0.25, 0.15, 0.1)
    steps: int = 250
    search_share: float = 0.5
    every: int = 5
    batch: int = 64
    relevant: float = 0.3
    rate: float = 0.015
    memory: float = 0.9
    temperature: float = 2.0
    raw_weight: float = 0.3
    saliency_samples: int = 500

    def of(self, modules: int) -> Recipe:
        """Return the recipe for so many modules.

        The numbers are for ten. Of more classes, fewer samples matter to each, so every module looks at a smaller share
        of a larger batch; a step's work then grows with the modules, not with their square.
        """
        many = max(1.0, modules / FEW)
        batch = max(self.batch, min(MOST_SAMPLES, round(many * self.batch)))
        return replace(self, batch=batch, relevant=self.relevant / many)


def relevant(target: torch.Tensor, *, share: float, seed: int) -> torch.Tensor:
    """Return for each module the rows of a batch it should look at, ``[modules, rows]``.

    The rows are drawn without replacement, the likelier the higher the margin of the module's class over the others is
    (Gumbel top-k): its own samples and the ones that look like them. Most negatives teach a module nothing.

    Args:
        target: the parent's logits ``[batch, modules]``.
        share: share of the batch to look at.
        seed: of the draw.
    """
    count = max(1, min(len(target), max(4, round(share * len(target)))))
    if target.shape[1] == 1 or count == len(target):
        return torch.arange(len(target), device=target.device).expand(target.shape[1], -1)
    best = target.topk(2, dim=1).values
    rival = torch.where(target == best[:, :1], best[:, 1:], best[:, :1])
    random = torch.Generator().manual_seed(seed)
    uniform = torch.rand(target.shape, generator=random).clamp_min(1e-9).to(target.device)
    gumbel = -torch.log((-torch.log(uniform)).clamp_min(1e-9))
    return (target - rival + gumbel).topk(count, dim=0).indices.T


def distillation_loss(
    scores: torch.Tensor, target: torch.Tensor, *, recipe: Recipe, weight: float = 1.0
) -> torch.Tensor:
    """Return how far the modules' raw scores are from their parent's logits, both ``[batch, modules]``.

    `weight` makes up for scores that were not computed and stand in as equal.
    """
    t = recipe.temperature
    divergence = torch.nn.functional.kl_div(
        (scores / t).log_softmax(dim=1), (target / t).log_softmax(dim=1), reduction="batchmean", log_target=True
    )
    return divergence * t * t + weight * recipe.raw_weight * torch.nn.functional.mse_loss(scores, target)
