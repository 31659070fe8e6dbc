"""Modules brought back to the statistics of their parent, without learning.

What is dropped counts as zero for what reads it, so that layers behind it see other means and spreads than in the
parent; smooth activations, which are never zero, suffer most. A scale and an offset per kept channel give each layer's
output the mean and variance that it has in the parent, over the watched samples. Layers are taken in order, each behind
those that are repaired already. The same is done to batch normalisation after pruning (Li et al., "EagleEye", ECCV
2020) and to averaged networks (Jordan et al., "REPAIR", ICLR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.moda.effect import drawn
from modhub.engines.torch_engine import to_torch
from modhub.network.modules import Affine, affine_layers
from modhub.network.slice import sliced
from modhub.network.trunk import computed_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from modhub.network.modules import Channels, ClassModule
    from modhub.network.network import Network
    from modhub.network.sites import Sites

SAMPLES = 256
AT_ONCE = 1 << 26
"""Numbers that a module's layers may make of all samples together."""

LIMIT = 5.0
"""Most that a channel is scaled by, either way."""

TINY = 1e-10
"""Variance up to which a channel is constant, and only shifted."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """The mean and variance of a layer's output per channel in the parent, and which channels these are."""

    layer: str
    channels: Channels
    mean: torch.Tensor
    variance: torch.Tensor


@dataclass(frozen=True, eq=False)
class Repair:
    """A parent's statistics, by the names of the layers' outputs, over the samples that modules are compared on."""

    network: Network
    sites: Sites
    start: str
    samples: torch.Tensor
    statistics: Mapping[str, Statistics]

    @classmethod
    @torch.no_grad()
    def of(cls, network: Network, sites: Sites, *, cut: str, features: torch.Tensor, device: str = "cpu") -> Repair:
        """Return the repair of a parent's modules.

        Args:
            network: the parent.
            sites: its sites.
            cut: the value that `features` are of, empty for the input.
            features: the trunk's outputs ``[n, ...]``.
            device: where torch computes.
        """
        start, net = cut or network.input.name, to_torch(network).to(device)
        layers = _layers(network, sites, behind=computed_from(network, start))
        one = net.evaluate({start: features[:1].to(device)}, wanted=sorted(layers))
        most = AT_ONCE // max(1, sum(value.numel() for value in one.values()))
        samples = drawn(features, max(2, min(SAMPLES, most))).to(device)
        found: dict[str, Statistics] = {}

        def watch(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
            def hook(value: torch.Tensor) -> torch.Tensor:
                variance, mean = _moments(value)
                found[name] = Statistics(*layers[name], mean, variance)
                return value

            return hook

        hooks = {i: watch(node.outputs[0]) for i, node in enumerate(network.nodes) if node.outputs[0] in layers}
        net.run({start: samples}, on_output=hooks)
        return cls(network, sites, start, samples, found)

    @torch.no_grad()
    def of_module(self, module: ClassModule) -> dict[str, Affine]:
        """Return the scales and offsets that bring a module, which has none, to its parent's statistics."""
        network, flags = sliced(self.network, self.sites, module), self.sites.flags(self.sites.settle(module.kept))
        affine: dict[str, Affine] = {}

        def bring(own: Statistics) -> Callable[[torch.Tensor], torch.Tensor]:
            kept = np.flatnonzero(flags[own.channels])

            def hook(value: torch.Tensor) -> torch.Tensor:
                scale, offset = _matching(value, own.mean[kept], own.variance[kept])
                affine[own.layer] = _spread(scale, offset, kept, size=len(own.channels))
                shape = (1, -1, *[1] * (value.ndim - 2))
                return value * scale.reshape(shape) + offset.reshape(shape)

            return hook

        hooks = {
            i: bring(self.statistics[node.outputs[0]])
            for i, node in enumerate(network.nodes)
            if node.outputs[0] in self.statistics
        }
        to_torch(network).to(self.samples.device).run({self.start: self.samples}, on_output=hooks)
        return affine


def _layers(network: Network, sites: Sites, *, behind: frozenset[str] | set[str]) -> dict[str, tuple[str, Channels]]:
    """Map the outputs of layers that can have a scale and an offset to their weights and channels.

    The layer that makes the logits is left out: what it computes is calibrated.
    """
    cuttable = affine_layers(network) & {layer for site in sites.sites if not site.pinned for layer in site.layers}
    rows = {use.array: use.channels for use in sites.arrays if use.axis == 0 and use.array in cuttable}
    return {
        node.outputs[0]: (node.inputs[1], rows[node.inputs[1]])
        for node in network.nodes
        if node.op in ("Conv", "Gemm") and node.inputs[1] in rows and node.outputs[0] in behind
    }


def _moments(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the variance and mean of each channel, along axis 1."""
    others = [axis for axis in range(value.ndim) if axis != 1]
    return torch.var_mean(value, dim=others, correction=0)


def _matching(value: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scale and offset per channel that give a value this mean and variance."""
    spread, centre = _moments(value)
    scale = (variance / spread.clamp_min(TINY)).sqrt().clamp(1 / LIMIT, LIMIT)
    scale = torch.where(spread > TINY, scale, torch.ones_like(scale))
    return scale, mean - scale * centre


def _spread(scale: torch.Tensor, offset: torch.Tensor, kept: Channels, *, size: int) -> Affine:
    """Return numbers of kept channels as those of all; dropped ones have none."""
    scales: npt.NDArray[np.float32] = np.ones(size, dtype=np.float32)
    offsets: npt.NDArray[np.float32] = np.zeros(size, dtype=np.float32)
    scales[kept], offsets[kept] = scale.cpu().numpy(), offset.cpu().numpy()
    return Affine(scale=scales, offset=offsets)
