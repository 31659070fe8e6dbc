"""All class modules of a parent in one forward pass.

The parent's weights are frozen and shared; modules differ in their masks and in a scale and an offset per channel. So
the modules are folded into the batch dimension: a value that depends on any of these has ``modules * batch`` rows,
module-major. What does not depend on them is computed once for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.errors import DecomposeError
from modhub.network.modules import Affine, affine_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modhub.engines.torch_engine import TorchNetwork
    from modhub.network.modules import Channels
    from modhub.network.network import Network
    from modhub.network.sites import Reader, Site, Sites

    Hook = Callable[[torch.Tensor], torch.Tensor]

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


class ModuleBatch(torch.nn.Module):
    """Masks and affine maps of several modules over one frozen network.

    Args:
        net: the parent in torch, frozen.
        network: the parent.
        sites: its sites.
        cut: the value that ends the trunk; inputs of `forward` are batches of it.
        rows: the parent's logit that each module scores.
        maskable: the sites that masks act on.

    Raises:
        DecomposeError: masks would act inside a recurrent cell.
    """

    latents: torch.Tensor
    rows: torch.Tensor

    def __init__(
        self,
        net: TorchNetwork,
        *,
        network: Network,
        sites: Sites,
        cut: str,
        rows: Sequence[int],
        maskable: Sequence[Site],
    ) -> None:
        super().__init__()
        self.net, self.network, self.sites = net, network, sites
        self.cut, self.maskable = cut or network.input.name, tuple(maskable)
        self.register_buffer("rows", torch.tensor(list(rows)))
        self.modules_count = len(rows)
        self.width = sum(site.size for site in self.maskable)
        self.register_buffer("latents", torch.zeros(self.modules_count, self.width))
        scalable = affine_layers(network)
        found = dict.fromkeys(layer for site in self.maskable for layer in site.layers)
        self.layers = tuple(layer for layer in found if layer in scalable)
        sizes = [network.arrays[layer].shape[0] for layer in self.layers]
        count = self.modules_count
        self.scales = torch.nn.ParameterList(torch.nn.Parameter(torch.ones(count, size)) for size in sizes)
        self.offsets = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(count, size)) for size in sizes)
        self._plan()

    def _plan(self) -> None:
        """Decide which nodes need a hook: layers with an affine map, readers of masked channels, and mixed operands."""
        index = {node.outputs[0]: i for i, node in enumerate(self.network.nodes)}
        starts = np.cumsum([0, *(site.size for site in self.maskable)])
        column = np.full(self.sites.channel_count, -1, dtype=np.int64)
        for site, start in zip(self.maskable, starts, strict=False):
            first = self.sites.offsets[site.id]
            column[first : first + site.size] = np.arange(start, start + site.size)
        self.readers: dict[tuple[int, int], tuple[Reader, torch.Tensor]] = {}
        for reader in self.sites.readers:
            columns = column[reader.channels]
            if (columns >= 0).any():
                self.readers[index[reader.node], reader.operand] = (reader, torch.from_numpy(columns))
        layer_number = {layer: i for i, layer in enumerate(self.layers)}
        self.affine_nodes = {
            i: layer_number[node.inputs[1]]
            for i, node in enumerate(self.network.nodes)
            if node.op in ("Conv", "Gemm") and node.inputs[1] in layer_number
        }
        self._find_mixed()

    def _find_mixed(self) -> None:
        """Find the operands that all modules share at nodes where modules differ.

        Raises:
            DecomposeError: modules differ inside a recurrent cell, whose batch is not the first axis.
        """
        modular: set[str] = set()
        known = {*self.network.arrays, ""}
        self.expanded: set[tuple[int, int]] = set()
        for i, node in enumerate(self.network.nodes):
            touched = i in self.affine_nodes or any((i, j) in self.readers for j in range(len(node.inputs)))
            if touched or modular.intersection(node.inputs):
                if node.op in RECURRENT:
                    raise DecomposeError(f"masks cannot be learned through {node.label} yet: choose a cut behind it")
                gated = {j for j in range(len(node.inputs)) if (i, j) in self.readers}
                if modular.intersection(node.inputs) or gated:
                    self.expanded.update(
                        (i, j) for j, name in enumerate(node.inputs) if name not in modular and name not in known
                    )
                modular.update(node.outputs)
        self.modular = modular

    def masks(self, kept: int) -> torch.Tensor:
        """Return the masks, 0 or 1, ``[modules, width]``: each module's `kept` channels with the highest latents."""
        chosen = self.latents.topk(min(kept, self.width), dim=1).indices
        return torch.zeros_like(self.latents).scatter_(1, chosen, 1.0)

    def count(self, share: float) -> int:
        """Return how many channels a module keeps at a share, at least one per site."""
        return max(len(self.maskable), round(share * self.width))

    def start_from_saliency(self, features: torch.Tensor, *, batch: int) -> None:
        """Set the latents to each channel's saliency, of the same scale for every module."""
        importance = self.saliency(features, batch=batch)
        self.latents.copy_(importance / importance.mean(dim=1, keepdim=True).clamp_min(1e-12))

    def saliency(self, features: torch.Tensor, *, batch: int) -> torch.Tensor:
        """Return the importance of each channel for each module, ``[modules, width]``.

        It is the mean squared first-order change of the module's own logit when a channel is taken away, over samples
        (a Taylor criterion, Molchanov et al. 2017).
        """
        total = torch.zeros_like(self.latents)
        for part in torch.split(features, batch):
            gates = torch.ones(self.modules_count, len(part), self.width, device=part.device, requires_grad=True)
            (change,) = torch.autograd.grad(self(part, gates).sum(), gates)
            total += change.square().sum(dim=1)
        return total.detach() / len(features)

    def forward(self, features: torch.Tensor, masks: torch.Tensor, *, batch: int | None = None) -> torch.Tensor:
        """Return each module's own logit, ``[batch, modules]``.

        Args:
            features: trunk outputs ``[batch, ...]``, or ``[modules * batch, ...]`` where each module has its own.
            masks: ``[modules, width]``, or ``[modules, batch, width]`` for a mask per sample.
            batch: samples per module; by default all rows of `features`.
        """
        batch = batch or features.shape[0]
        on_input = {place: self._gate(place, masks, batch) for place in {*self.readers, *self.expanded}}
        on_output = {node: self._affine(number, batch) for node, number in self.affine_nodes.items()}
        values = self.net.run({self.cut: features}, stop=self.network.output, on_input=on_input, on_output=on_output)
        logits = values.reshape(self.modules_count, batch, -1)
        rows = self.rows.reshape(-1, 1, 1).expand(-1, batch, 1)
        own: torch.Tensor = logits.gather(2, rows).squeeze(2).T
        return own

    def _spread(self, tensor: torch.Tensor, batch: int) -> torch.Tensor:
        """Return ``[modules, batch, ...]``, repeating what all modules share."""
        if tensor.shape[0] == batch:
            return tensor.unsqueeze(0).expand(self.modules_count, *tensor.shape)
        return tensor.reshape(self.modules_count, batch, *tensor.shape[1:])

    def _gate(self, place: tuple[int, int], masks: torch.Tensor, batch: int) -> Hook:
        reader = self.readers.get(place)

        def hook(tensor: torch.Tensor) -> torch.Tensor:
            spread = self._spread(tensor, batch)
            if reader is not None:
                axis, columns = reader[0].axis, reader[1]
                full = torch.cat([masks, torch.ones_like(masks[..., :1])], dim=-1)
                rows = masks.shape[1] if masks.ndim == 3 else 1
                shape = (self.modules_count, rows, *[-1 if a == axis else 1 for a in range(1, tensor.ndim)])
                spread = spread * full[..., columns].reshape(shape)
            return spread.flatten(0, 1)

        return hook

    def _affine(self, number: int, batch: int) -> Hook:
        def hook(tensor: torch.Tensor) -> torch.Tensor:
            spread = self._spread(tensor, batch)
            shape = (self.modules_count, 1, -1, *[1] * (tensor.ndim - 2))
            scale: torch.Tensor = self.scales[number].reshape(shape)
            return torch.addcmul(self.offsets[number].reshape(shape), spread, scale).flatten(0, 1)

        return hook

    def kept_channels(self, masks: torch.Tensor) -> list[dict[str, Channels]]:
        """Return each module's kept channels per site, ascending."""
        hard = masks.detach().cpu().numpy() > 0.5
        result: list[dict[str, Channels]] = [{} for _ in range(self.modules_count)]
        start = 0
        for site in self.maskable:
            for module, kept in enumerate(result):
                kept[site.id] = np.flatnonzero(hard[module, start : start + site.size])
            start += site.size
        return result

    def affine_maps(self) -> list[Mapping[str, Affine]]:
        """Return each module's scale and offset per layer."""
        return [
            {
                layer: Affine(
                    scale=self.scales[number][module].detach().cpu().numpy().copy(),
                    offset=self.offsets[number][module].detach().cpu().numpy().copy(),
                )
                for number, layer in enumerate(self.layers)
            }
            for module in range(self.modules_count)
        ]
