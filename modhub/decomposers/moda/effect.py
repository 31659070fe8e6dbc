"""How much the score of each class depends on each channel.

How strongly a channel fires says little where nothing is ever silent: after a GELU or SiLU, or anywhere on a large
feature map, most channels fire for every class. What a class's logit loses with the channel says more, and needs no
threshold of activity: its first-order change, activation times gradient summed over positions (Molchanov et al.,
"Importance Estimation for Neural Network Pruning", CVPR 2019), for which neither resolution nor zeros count. Unlike
there it is not its mean square over the samples but its variance: what all samples lose alike, calibration gives back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.rows import rows_of
from modhub.engines.torch_engine import to_torch
from modhub.network.rules.recurrent import GATES, RECURRENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from modhub.decomposers.rows import Rows
    from modhub.network.network import Network
    from modhub.network.sites import Reader, Sites

    Floats = npt.NDArray[np.float64]
    Hook = Callable[[torch.Tensor], torch.Tensor]

BATCH = 32


def effect(
    network: Network, sites: Sites, *, cut: str, features: torch.Tensor, rows: Sequence[int], device: str = "cpu"
) -> Floats:
    """Return how far each channel moves each of some logits, ``[rows, channels]``, channels counted over all sites.

    It is the variance over samples of the logit's first-order change when the channel goes. The numbers of a class have
    a mean of one over all channels that move its logit, so one threshold serves all classes.

    Args:
        network: the parent.
        sites: its sites.
        cut: the value that `features` are of, empty for the input.
        features: the trunk's outputs ``[n, ...]``.
        rows: the logits.
        device: where torch computes.
    """
    net, start = to_torch(network).to(device), cut or network.input.name
    read, recurring = _read(network, sites), _recurring(network, sites)
    total = torch.zeros(len(rows), sites.channel_count, dtype=torch.float64, device=device)
    squares = torch.zeros_like(total)
    for part in torch.split(features, BATCH):
        gates = torch.ones(len(part), sites.channel_count, device=device, requires_grad=True)
        logits = net.run(
            {start: part.to(device)},
            stop=network.output,
            on_input={place: _gate(gates, reader, held) for place, (reader, held) in read.items()},
            on_state={node: _state_gate(gates, reader) for node, reader in recurring.items()},
        )
        for i, row in enumerate(rows):
            (change,) = torch.autograd.grad(logits[:, row].sum(), gates, retain_graph=i + 1 < len(rows))
            total[i] += change.double().sum(dim=0)
            squares[i] += change.double().square().sum(dim=0)
    found = (squares / len(features) - (total / len(features)).square()).clamp_min(0).cpu().numpy()
    scale = found.sum(axis=1, keepdims=True) / np.maximum(1, np.count_nonzero(found, axis=1, keepdims=True))
    return np.asarray(found / np.where(scale > 0, scale, 1.0), dtype=np.float64)


def drawn(features: torch.Tensor, count: int) -> torch.Tensor:
    """Return at most so many samples, always the same ones; drawn, since data may have its classes in turn."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    return features[order[:count].sort().values]


def channel_weights(network: Network, sites: Sites) -> Floats:
    """Return how many weights go with each channel, ``[channels]``: those that make it and those that read it."""
    found = np.zeros(sites.channel_count)
    uses = {(use.array, use.axis): use for use in sites.arrays}
    for (name, axis), use in uses.items():
        array = network.arrays[name]
        np.add.at(found, use.channels, array.size / array.shape[axis])
    return found


def _read(network: Network, sites: Sites) -> dict[tuple[int, int], tuple[Reader, Rows]]:
    """Map each operand that reads channels to its reader, and to where the value that it is holds the samples."""
    index, held = {node.outputs[0]: i for i, node in enumerate(network.nodes)}, rows_of(network)
    found = {(index[reader.node], reader.operand): reader for reader in sites.readers}
    values = {(i, operand): network.nodes[i].inputs[operand] for i, operand in found}
    return {place: (reader, held[values[place]]) for place, reader in found.items() if values[place] in held}


def _recurring(network: Network, sites: Sites) -> dict[int, Reader]:
    """Map each recurrent layer to the reader of its own hidden state."""
    index = {node.outputs[0]: i for i, node in enumerate(network.nodes)}
    return {
        index[reader.node]: reader
        for reader in sites.readers
        if reader.operand == RECURRENCE and network.nodes[index[reader.node]].op in GATES
    }


def _gate(gates: torch.Tensor, reader: Reader, held: Rows) -> Hook:
    """Return what multiplies the channels that are read by their gates."""
    own = gates[:, torch.from_numpy(reader.channels).to(gates.device)].unsqueeze(0)

    def hook(value: torch.Tensor) -> torch.Tensor:
        factors = held.shaped(own, along=reader.axis, rank=value.ndim)
        return held.fold(held.spread(value, 1, apart=True) * factors)

    return hook


def _state_gate(gates: torch.Tensor, reader: Reader) -> Hook:
    """Return what does that to the hidden units that a recurrent layer reads of itself, ``[batch, units]``."""
    own = gates[:, torch.from_numpy(reader.channels).to(gates.device)]
    return lambda hidden: hidden * own
