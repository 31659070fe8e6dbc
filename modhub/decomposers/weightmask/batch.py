"""All modules of a parent in one forward pass, each with weights of its own.

The pass is vectorised over the modules: what they share (the input, the trunk, the layers before the first mask) is
computed once, a layer with masks becomes one batched product. This holds for every operator of the graph, recurrent
cells and attention among them, because it is the graph itself that is vectorised. Convolutions would become grouped
ones, which on a CPU are slower than the modules one after the other (ResNet-20's last stage: 0.55 and 0.40 s a step).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.engines.torch_engine import TorchNetwork

    Weights = Sequence[torch.Tensor]


class WeightBatch:
    """A frozen network that runs with other weights in place of its own.

    Args:
        net: the parent in torch, frozen.
        start: the value that ends the trunk; the network's input where there is no trunk.
        names: the arrays that masks act on.
        batched: whether all modules run at once; otherwise one after the other, with the same result.
    """

    def __init__(self, net: TorchNetwork, *, start: str, names: Sequence[str], batched: bool = True) -> None:
        self.net, self.start, self.names, self.batched = net, start, tuple(names), batched

    def originals(self) -> list[torch.Tensor]:
        """Return the parent's own weights."""
        return [self.net.array(name).detach() for name in self.names]

    def alone(self, features: torch.Tensor, weights: Weights) -> torch.Tensor:
        """Return the logits ``[B, classes]`` of one network with these weights."""
        return self.net.run({self.start: features, **dict(zip(self.names, weights, strict=True))})

    def together(self, features: torch.Tensor, weights: Weights) -> torch.Tensor:
        """Return the logits ``[N, B, classes]`` of N networks with these weights, ``[N, *shape]`` each."""
        if not self.batched:
            return torch.stack([self.alone(features, own) for own in zip(*weights, strict=True)])
        run = torch.func.vmap(lambda *own: self.alone(features, own))
        logits: torch.Tensor = run(*weights)
        return logits
