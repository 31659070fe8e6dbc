"""How active each channel of a network is for each class.

A channel is looked at where a layer reads it: there a mask acts, and there its activations have passed whatever lies
between, such as pooling. A channel that is read in several places is as active as where it is most active. A branch
that is added to a stream is read by the addition: it is never exactly zero, so by the paper's rule it is cut as the
stream is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.decomposers.rows import Rows, rows_of
from modhub.engines.torch_engine import to_torch
from modhub.network.trunk import computed_from

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
    places: torch.Tensor
    active: torch.Tensor
    magnitude: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def of(cls, reader: Reader, *, classes: int, device: str) -> Tally:
        """Return an empty tally."""
        channels, places = np.unique(reader.channels, return_inverse=True)
        zeros = torch.zeros(classes, len(channels), dtype=torch.float64, device=device)
        index = torch.from_numpy(places).to(device)
        return cls(channels, index, zeros, zeros.clone(), zeros[0].clone())

    def add(self, flat: torch.Tensor, member: torch.Tensor) -> None:
        """Add a batch.

        Args:
            flat: what is read, ``[n, rows of the reader, positions]``; several rows may be of one channel.
            member: one for each sample's own class, ``[n, classes]``.
        """
        share = torch.bincount(self.places, minlength=len(self.channels)).float()
        empty = torch.zeros(len(flat), len(self.channels), device=flat.device)
        magnitude = empty.index_add(1, self.places, flat.abs().mean(dim=2).float()) / share
        active = empty.index_add(1, self.places, (flat != 0).any(dim=2).float()) > 0
        self.active += (member.T @ active.float()).double()
        self.magnitude += (member.T @ magnitude).double()
        self.squares += (magnitude * member.sum(dim=1, keepdim=True)).double().square().sum(dim=0)


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
    behind = computed_from(network, start)
    rows = rows_of(network)
    found = [(reader, nodes[reader.node].inputs[reader.operand]) for reader in sites.readers]
    # A layer that folds other axes into that of the samples is not looked at.
    readers = [(reader, name) for reader, name in found if name in behind and rows[name] == Rows(0)]
    wanted = sorted({name for _, name in readers})

    def read(part: torch.Tensor) -> list[torch.Tensor]:
        """Return what each reader reads, ``[n, rows of the reader, positions]``."""
        x = part.to(device)
        values: Mapping[str, torch.Tensor] = {start: x, **net.evaluate({start: x}, wanted=wanted)}
        return [
            values[name].movedim(reader.axis, 1).reshape(len(x), len(reader.channels), -1) for reader, name in readers
        ]

    tallies = [Tally.of(reader, classes=classes, device=device) for reader, _ in readers]
    for first in range(0, len(features), BATCH):
        own = torch.from_numpy(columns[first : first + BATCH]).to(device)
        # Samples of other classes have a row of zeros.
        member = torch.nn.functional.one_hot(own.clamp_min(0), classes).float() * (own >= 0)[:, None]
        for tally, value in zip(tallies, read(features[first : first + BATCH]), strict=True):
            tally.add(value, member)
    counts = np.maximum(np.bincount(columns[columns >= 0], minlength=classes), 1)
    return _joined(sites, tallies, counts)


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
