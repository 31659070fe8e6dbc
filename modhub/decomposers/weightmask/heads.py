"""From a module's logits to one number: its own logit, or the paper's graft."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.weightmask.recipe import OWN
from modhub.metrics import fit_platt
from modhub.network.modules import MlpHead, OwnHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.modules import Head


class Heads:
    """The heads of N modules.

    `own`: the score is the class's own logit; for its loss as a detector it has a scale and an offset. `graft`: the
    score is linear in the rectified logits. The paper's two outputs (mine and other) enter a softmax, in which only
    their difference counts, so that is what is learned. It starts as the own logit less the mean of the others.

    Args:
        kind: ``own`` or ``graft``.
        rows: the parent's logit that each module scores.
        logits: the parent's logits of the modules' rows on training data ``[n, N]``, to begin near a calibrated score.
        columns: the module of each sample's class there, -1 for none.
        classes: the parent's number of logits.
    """

    def __init__(
        self, kind: str, *, rows: Sequence[int], logits: torch.Tensor, columns: torch.Tensor, classes: int
    ) -> None:
        self.kind, self.rows = kind, torch.tensor(list(rows))
        count = len(rows)
        if kind == OWN:
            fits = [_balanced_fit(logits[:, i], columns == i) for i in range(count)]
            self.parameters = [
                torch.tensor([np.log(scale) for scale, _ in fits], dtype=torch.float32, requires_grad=True),
                torch.tensor([offset for _, offset in fits], dtype=torch.float32, requires_grad=True),
            ]
        else:
            weight = torch.full((count, classes), -1.0 / max(1, classes - 1))
            weight[torch.arange(count), self.rows] = 1.0
            self.parameters = [weight.requires_grad_(), torch.zeros(count, requires_grad=True)]

    def to(self, device: str) -> Heads:
        """Move to a device."""
        self.rows = self.rows.to(device)
        self.parameters = [own.detach().to(device).requires_grad_() for own in self.parameters]
        return self

    def put(self, parameters: Sequence[torch.Tensor]) -> None:
        """Take other parameters, in place of those that are there."""
        device = self.parameters[0].device
        self.parameters = [own.detach().clone().to(device).requires_grad_() for own in parameters]

    def raw(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the raw scores ``[B, N]`` for logits ``[N, B, classes]``."""
        if self.kind == OWN:
            rows = self.rows.reshape(-1, 1, 1).expand(-1, logits.shape[1], 1)
            return logits.gather(2, rows).squeeze(2).T
        weight, bias = self.parameters
        return (torch.relu(logits) * weight.unsqueeze(1)).sum(dim=2).T + bias

    def detections(self, raw: torch.Tensor) -> torch.Tensor:
        """Return what the loss of a detector takes as a logit, for raw scores ``[B, N]``."""
        if self.kind != OWN:
            return raw
        scale, offset = self.parameters
        return raw * scale.exp() + offset

    def packed(self) -> list[Head]:
        """Return the heads as values; a graft is the difference of two rectified neurons."""
        if self.kind == OWN:
            return [OwnHead() for _ in self.rows]
        weights, biases = (own.detach().cpu().numpy().astype(np.float32) for own in self.parameters)
        return [
            MlpHead(
                first=np.stack([weight, -weight]),
                first_bias=np.array([bias, -bias], dtype=np.float32),
                second=np.array([[1, -1]], dtype=np.float32),
                second_bias=np.zeros(1, dtype=np.float32),
            )
            for weight, bias in zip(weights, biases, strict=True)
        ]


def _balanced_fit(logit: torch.Tensor, is_class: torch.Tensor) -> tuple[float, float]:
    """Return scale and offset that make a logit a detector's score where both kinds are equally frequent."""
    flags = is_class.cpu().numpy()
    fit = fit_platt(logit.cpu().numpy(), flags, data="train")
    positives = min(max(int(flags.sum()), 1), max(1, len(flags) - 1))
    return fit.scale, fit.offset + float(np.log((len(flags) - positives) / positives))
