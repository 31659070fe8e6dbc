"""How active each channel of a network is for each class.

A channel is looked at where a layer reads it: there a mask acts, and there its activations have passed whatever lies
between, such as pooling. A channel that is read in several places is as active as where it is most active. Branches
that are only added to a stream are read nowhere and take part as the stream does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.rows import Rows, rows_of
from modhub.engines.torch_engine import to_torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from modhub.network.network import Network
    from modhub.network.sites import Reader, Sites

    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

BATCH = 128


@dataclass(frozen=True, eq=False)
class Activity:
    """Numbers per class and channel, ``[classes, channels]``, channels counted over all sites.

    Args:
        frequency: share of the class's samples for which the channel is not exactly zero everywhere: MODA's rule.
        strength: mean magnitude over the class's samples, in units of the site's root mean square over all samples; it
            depends neither on the size of the feature map nor on exact zeros.
        seen: which channels were seen, ``[channels]``; for others both numbers say nothing.
    """

    frequency: Floats
    strength: Floats
    seen: Flags


@dataclass
class Tally:
    """What one reader has shown so far: sums per class and channel of its own."""

    channels: npt.NDArray[np.int64]
    active: torch.Tensor
    magnitude: torch.Tensor
    squares: torch.Tensor


@torch.no_grad()
def activity(
    network: Network,
    sites: Sites,
    *,
    cut: str,
    features: torch.Tensor,
    columns: npt.NDArray[np.int64],
    classes: int,
    device: str = "cpu",
) -> Activity:
    """Return how active the channels behind a cut are for each class.

    Args:
        network: the parent.
        sites: its sites.
        cut: the value that `features` are of, empty for the input.
        features: the trunk's outputs ``[n, ...]``.
        columns: the class of each sample, -1 for a class that does not count.
        classes: number of classes.
        device: where torch computes.
    """
    net = to_torch(network).to(device)
    start = cut or network.input.name
    nodes = {node.outputs[0]: node for node in network.nodes}
    behind = _computed_from(network, start)
    rows = rows_of(network)
    found = [(reader, nodes[reader.node].inputs[reader.operand]) for reader in sites.readers]
    # A layer that folds other axes into that of the samples is not looked at.
    readers = [(reader, name) for reader, name in found if name in behind and rows[name] == Rows(0)]
    tallies: dict[int, Tally] = {}
    for first in range(0, len(features), BATCH):
        part = features[first : first + BATCH].to(device)
        own = torch.from_numpy(columns[first : first + BATCH]).to(device)
        # Samples of other classes have a row of zeros.
        member = torch.nn.functional.one_hot(own.clamp_min(0), classes).float() * (own >= 0)[:, None]
        values: Mapping[str, torch.Tensor] = {
            start: part,
            **net.evaluate({start: part}, wanted=sorted({name for _, name in readers})),
        }
        for number, (reader, name) in enumerate(readers):
            _count(tallies, number, reader, values[name], member)
    counts = np.maximum(np.bincount(columns[columns >= 0], minlength=classes), 1)
    return _joined(sites, tallies.values(), counts)


def _count(tallies: dict[int, Tally], number: int, reader: Reader, value: torch.Tensor, member: torch.Tensor) -> None:
    """Add a batch of what a reader reads."""
    channels, places = np.unique(reader.channels, return_inverse=True)
    flat = value.movedim(reader.axis, 1).reshape(len(value), len(reader.channels), -1)
    index = torch.from_numpy(places).to(value.device)
    share = torch.bincount(index, minlength=len(channels)).float()
    empty = torch.zeros(len(value), len(channels), device=value.device)
    magnitude = empty.index_add(1, index, flat.abs().mean(dim=2).float()) / share
    active = empty.index_add(1, index, (flat != 0).any(dim=2).float()) > 0
    if number not in tallies:
        zeros = torch.zeros(member.shape[1], len(channels), dtype=torch.float64, device=value.device)
        tallies[number] = Tally(channels, zeros, zeros.clone(), zeros[0].clone())
    tally = tallies[number]
    tally.active += (member.T @ active.float()).double()
    tally.magnitude += (member.T @ magnitude).double()
    tally.squares += (magnitude * member.sum(dim=1, keepdim=True)).double().square().sum(dim=0)


def _joined(sites: Sites, tallies: Iterable[Tally], counts: npt.NDArray[np.int64]) -> Activity:
    """Return the numbers of all readers, of each channel the highest."""
    shape = (len(counts), sites.channel_count)
    frequency, strength = np.zeros(shape), np.zeros(shape)
    seen = np.zeros(sites.channel_count, dtype=np.bool_)
    for tally in tallies:
        scale = float(np.sqrt(tally.squares.cpu().numpy().mean() / counts.sum())) or 1.0
        found = (tally.active.cpu().numpy(), tally.magnitude.cpu().numpy() / scale)
        for numbers, own in zip((frequency, strength), found, strict=True):
            numbers[:, tally.channels] = np.maximum(numbers[:, tally.channels], own / counts[:, None])
        seen[tally.channels] = True
    return Activity(frequency, strength, seen)


def _computed_from(network: Network, start: str) -> set[str]:
    """Return the values that depend on one value and otherwise on arrays alone, itself among them."""
    known = {start, "", *network.arrays}
    for node in network.nodes:
        if known.issuperset(node.inputs):
            known.update(node.outputs)
    return known - set(network.arrays) - {""}
