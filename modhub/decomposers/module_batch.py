"""All class modules of a parent in one forward pass.

The parent's weights are frozen and shared; modules differ in their masks and in a scale and an offset per channel. So
the modules are folded into the batch dimension: along its batch axis, a value that depends on any of these has
``modules * batch`` rows, module-major. What does not depend on them is computed once for all. The batch is not always
the first axis (`modhub.decomposers.rows`).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.rows import rows_of
from modhub.decomposers.ties import tied_columns
from modhub.errors import DecomposeError
from modhub.network.modules import Affine, affine_layers
from modhub.network.rules.recurrent import GATES, RECURRENCE
from modhub.network.shapes import infer_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modhub.engines.torch_engine import TorchNetwork
    from modhub.network.modules import Channels
    from modhub.network.network import Network
    from modhub.network.sites import Site, Sites

    Hook = Callable[[torch.Tensor], torch.Tensor]


EVERY = slice(None)
AT_ONCE = 1 << 27
"""Numbers that may be held at once of values in which modules differ (512 MiB as float32)."""


class ModuleBatch(torch.nn.Module):
    """Masks and affine maps of several modules over one frozen network.

    The affine maps are those of the layers that masks act on; where none of these has one, that of the layer that makes
    the logits.

    Args:
        net: the parent in torch, frozen.
        network: the parent.
        sites: its sites.
        cut: the value that ends the trunk; inputs of `forward` are batches of it.
        rows: the parent's logit that each module scores.
        maskable: the sites that masks act on.
        tied: whether channels that a residual addition puts onto each other are kept or dropped together.

    Raises:
        DecomposeError: masks would act on a value that holds no samples.
    """

    latents: torch.Tensor
    rows: torch.Tensor
    ties: torch.Tensor | None

    def __init__(
        self,
        net: TorchNetwork,
        *,
        network: Network,
        sites: Sites,
        cut: str,
        rows: Sequence[int],
        maskable: Sequence[Site],
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.network, self.sites = net, network, sites
        self.cut, self.maskable = cut or network.input.name, tuple(maskable)
        self.register_buffer("rows", torch.tensor(list(rows)))
        self.modules_count = len(rows)
        self.width = sum(site.size for site in self.maskable)
        self.register_buffer("latents", torch.zeros(self.modules_count, self.width))
        ties = tied_columns(sites, self.maskable)[0] if tied else None
        self.register_buffer("ties", ties, persistent=False)
        self.layers = self._scaled_layers()
        sizes = [network.arrays[layer].shape[0] for layer in self.layers]
        count = self.modules_count
        self.scales = torch.nn.ParameterList(torch.nn.Parameter(torch.ones(count, size)) for size in sizes)
        self.offsets = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(count, size)) for size in sizes)
        self._plan()

    def _scaled_layers(self) -> tuple[str, ...]:
        scalable = affine_layers(self.network)
        masked = dict.fromkeys(layer for site in self.maskable for layer in site.layers)
        found = tuple(layer for layer in masked if layer in scalable)
        if found or not masked:
            return found
        last = self.network.producers()[self.network.output]
        return tuple(layer for layer in self.network.nodes[last].inputs[1:2] if layer in scalable)

    def _plan(self) -> None:
        """Decide what passes through a gate: outputs of layers, what reads masked channels, and mixed operands."""
        nodes = self.network.nodes
        index = {node.outputs[0]: i for i, node in enumerate(nodes)}
        starts = np.cumsum([0, *(site.size for site in self.maskable)])
        column = np.full(self.sites.channel_count, self.width, dtype=np.int64)
        for site, start in zip(self.maskable, starts, strict=False):
            first = self.sites.offsets[site.id]
            column[first : first + site.size] = np.arange(start, start + site.size)
        self.readers: dict[tuple[int, int], tuple[int, torch.Tensor]] = {}
        self.states: dict[int, torch.Tensor] = {}
        for reader in self.sites.readers:
            columns, i = column[reader.channels], index[reader.node]
            if (columns == self.width).all():
                continue
            if nodes[i].op in GATES and reader.operand == RECURRENCE:
                self.states[i] = torch.from_numpy(columns)
            else:
                self.readers[i, reader.operand] = (reader.axis, torch.from_numpy(columns))
        parts = [column[channels] for channels in self.sites.parts]
        self.inseparable = [torch.arange(a, b) for a, b in itertools.pairwise(starts)]
        self.inseparable += [torch.from_numpy(columns) for columns in parts if (columns < self.width).all()]
        layer_number = {layer: i for i, layer in enumerate(self.layers)}
        self.affine_nodes = {
            i: layer_number[node.inputs[1]]
            for i, node in enumerate(nodes)
            if node.op in ("Conv", "Gemm") and node.inputs[1] in layer_number
        }
        self._find_mixed()

    def _find_mixed(self) -> None:
        """Find the values in which modules differ, and the operands that they share at nodes where these meet.

        Raises:
            DecomposeError: masks act on a value that holds no samples.
        """
        self.held = rows_of(self.network)
        self.modular: set[str] = set()
        self.expanded: set[tuple[int, int]] = set()
        for i, node in enumerate(self.network.nodes):
            gated = {j for j in range(len(node.inputs)) if (i, j) in self.readers}
            bare = [node.inputs[j] for j in gated if node.inputs[j] not in self.held]
            if bare:
                raise DecomposeError(f"masks would act on {bare[0]!r}, which holds no samples: choose a cut behind it")
            meets = bool(gated) or i in self.states or not self.modular.isdisjoint(node.inputs)
            if meets:
                self.expanded.update(
                    (i, j) for j, name in enumerate(node.inputs) if name in self.held and name not in self.modular
                )
            if meets or i in self.affine_nodes:
                self.modular.update(name for name in node.outputs if name)
        shapes = infer_shapes(self.network)
        self.features_rank = len(shapes[self.cut])
        self.footprint = sum(
            math.prod(size for size in shapes[name] if isinstance(size, int)) * rows.before * rows.after
            for name, rows in self.held.items()
            if name in self.modular
        )

    def groups(self, samples: int) -> list[slice]:
        """Return the modules in as few groups as fit into memory at once, each looking at so many samples."""
        most = max(1, AT_ONCE // max(1, samples * self.footprint))
        size = math.ceil(self.modules_count / math.ceil(self.modules_count / most))
        return [slice(first, first + size) for first in range(0, self.modules_count, size)]

    def masks(self, kept: int) -> torch.Tensor:
        """Return the masks, 0 or 1, ``[modules, width]``: each module's `kept` channels that rank highest.

        A site, or a part of one that some value holds alone, keeps its highest channel even where it is not among them,
        and so do those that are tied to a kept one.
        """
        ranking = self.ranking
        chosen = ranking.topk(min(kept, self.width), dim=1).indices
        masks = torch.zeros_like(ranking).scatter_(1, chosen, 1.0)
        for columns in self.inseparable:
            best = columns[ranking[:, columns].argmax(dim=1)]
            is_empty = masks[:, columns].sum(dim=1) == 0
            masks[is_empty, best[is_empty]] = 1.0
        return self._by_tie(masks, "amax")

    @property
    def ranking(self) -> torch.Tensor:
        """Return what channels are ranked by, ``[modules, width]``: their latents, of tied ones the mean."""
        return self._by_tie(self.latents, "mean")

    def _by_tie(self, values: torch.Tensor, reduction: str) -> torch.Tensor:
        """Return for each column what the columns tied to it have together."""
        if self.ties is None:
            return values
        ties = self.ties.expand_as(values)
        return torch.zeros_like(values).scatter_reduce_(1, ties, values, reduction, include_self=False).gather(1, ties)

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
            for some in self.groups(len(part)):
                gates = torch.ones(len(total[some]), len(part), self.width, device=part.device, requires_grad=True)
                (change,) = torch.autograd.grad(self(part, gates, some=some).sum(), gates)
                total[some] += change.square().sum(dim=1)
        return total.detach() / len(features)

    def forward(
        self, features: torch.Tensor, masks: torch.Tensor, *, batch: int | None = None, some: slice = EVERY
    ) -> torch.Tensor:
        """Return each module's own logit, ``[batch, modules]``.

        Args:
            features: trunk outputs ``[batch, ...]``, or ``[modules * batch, ...]`` where each module has its own.
            masks: ``[modules, width]``, or ``[modules, batch, width]`` for a mask per sample.
            batch: samples per module; by default all rows of `features`.
            some: which modules; features and masks are theirs.
        """
        batch = batch or features.shape[0]
        own = features.shape[0] != batch
        gates = torch.cat([masks, torch.ones_like(masks[..., :1])], dim=-1)
        gates = gates if gates.ndim == 3 else gates.unsqueeze(1)
        values = self.net.run(
            {self.cut: features},
            stop=self.network.output,
            on_input={place: self._gate(place, gates, own=own) for place in {*self.readers, *self.expanded}},
            on_output={node: self._affine(node, i, own=own, some=some) for node, i in self.affine_nodes.items()},
            on_state={node: self._state_gate(gates[..., columns]) for node, columns in self.states.items()},
        )
        logits = values.reshape(len(gates), batch, -1)
        rows = self.rows[some].reshape(-1, 1, 1).expand(-1, batch, 1)
        scores: torch.Tensor = logits.gather(2, rows).squeeze(2).T
        return scores

    def _gate(self, place: tuple[int, int], gates: torch.Tensor, *, own: bool) -> Hook:
        """Return what spreads an operand over the modules, and multiplies the channels that it reads by their gates."""
        node, operand = place
        name = self.network.nodes[node].inputs[operand]
        rows, reader = self.held[name], self.readers.get(place)

        def hook(tensor: torch.Tensor) -> torch.Tensor:
            spread = rows.spread(tensor, len(gates), apart=own or name in self.modular)
            if reader is not None:
                axis, columns = reader
                spread = spread * rows.shaped(gates[..., columns], along=axis, rank=tensor.ndim)
            return rows.fold(spread)

        return hook

    def _state_gate(self, gates: torch.Tensor) -> Hook:
        """Return what multiplies the hidden units that a recurrent layer reads of itself by their gates."""

        def hook(hidden: torch.Tensor) -> torch.Tensor:
            return (hidden.reshape(len(gates), -1, hidden.shape[1]) * gates).flatten(0, 1)

        return hook

    def _affine(self, node: int, number: int, *, own: bool, some: slice) -> Hook:
        """Return what applies the modules' scales and offsets to the output of a layer, channels along axis 1."""
        reads, name = self.network.nodes[node].inputs[0], self.network.nodes[node].outputs[0]
        rows, apart = self.held[name], own or reads in self.modular or (node, 0) in self.readers

        def hook(tensor: torch.Tensor) -> torch.Tensor:
            scale, offset = (
                rows.shaped(numbers[number][some].unsqueeze(1), along=1, rank=tensor.ndim)
                for numbers in (self.scales, self.offsets)
            )
            spread = rows.spread(tensor, len(self.rows[some]), apart=apart)
            return rows.fold(torch.addcmul(offset, spread, scale))

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
