"""What does not change while modules are made, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.engines.runtime import Session
from modhub.errors import UsageError
from modhub.network.trunk import trunk_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.network.network import Network


@dataclass(frozen=True)
class Features:
    """Trunk outputs, the parent's logits of the chosen classes, and the column of the right class (-1: none)."""

    x: torch.Tensor
    logits: torch.Tensor
    columns: npt.NDArray[np.int64]

    def accuracy(self, scores: torch.Tensor) -> float:
        """Return how often the highest of the scores ``[n, modules]`` is right, among samples of the chosen classes."""
        inside = self.columns >= 0
        best = scores.argmax(dim=1).cpu().numpy()
        return float((best == self.columns)[inside].mean()) if inside.any() else 0.0


def features(
    network: Network, data: Dataset, *, cut: str, rows: tuple[int, ...], flip: bool, own_labels: bool = False
) -> Features:
    """Return the trunk's outputs and the parent's logits for a data set, computed by ONNX Runtime.

    Args:
        network: the parent.
        data: its inputs, with or without labels.
        cut: the value that ends the trunk, empty for the input itself.
        rows: the parent's logits that modules are made for.
        flip: whether to add mirror images.
        own_labels: whether samples without labels get those that the parent gives them.

    Raises:
        UsageError: mirror images are asked for of what is no image.
    """
    x = data.x
    if flip and network.input.kind != "image":
        raise UsageError(f"there are no mirror images of {network.input.kind}: leave --flip out")
    if flip:
        x = np.concatenate([x, np.ascontiguousarray(x[..., ::-1])])
    logits = Session(network).run(x)
    outputs = Session(trunk_of(network, cut)).run(x) if cut else x
    columns = np.full(len(x), -1, dtype=np.int64)
    y = logits[: len(data)].argmax(axis=1) if own_labels and data.y is None else data.y
    if y is not None:
        labels = np.concatenate([y, y]) if flip else y
        for i, row in enumerate(rows):
            columns[labels == row] = i
    chosen = np.ascontiguousarray(logits[:, list(rows)])
    return Features(torch.from_numpy(outputs), torch.from_numpy(chosen), columns)
